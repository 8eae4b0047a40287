"""Time: monotonic for deadlines, media time for frames, wall clock only in evidence."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Protocol

NANOSECONDS = 1_000_000_000


class Clock(Protocol):
    """The two clocks of a machine. Tests pass their own."""

    def monotonic_ns(self) -> int:
        """Never steps; for deadlines and latencies."""
        ...

    def wall_ns(self) -> int:
        """Unix time; may step; for evidence only."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


def media_ns(pts: int, time_base: Fraction) -> int:
    """Presentation time in nanoseconds, exact to rounding down."""
    return pts * time_base.numerator * NANOSECONDS // time_base.denominator
