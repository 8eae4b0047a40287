"""A clock that moves when the test says so."""

from __future__ import annotations

from veil.domain.clock import NANOSECONDS


class MadeClock:
    def __init__(self) -> None:
        self.now_ns = NANOSECONDS

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return 1_700_000_000 * NANOSECONDS + self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * NANOSECONDS)
