"""The wall clock, which evidence depends on: is it synchronised, did it step?"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from veil.domain.clock import NANOSECONDS, Clock, SystemClock

CLOCK_WAS_SET_NS = 1_735_689_600 * NANOSECONDS
"""2025-01-01: a box whose clock says less has not heard the time yet."""

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2)."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel says of its clock. `max_error_us` grows until a time service answers."""

    synchronised: bool
    max_error_us: int


def clock_state() -> ClockState:
    """Asks the kernel; needs no rights. Raises OSError where it does not answer."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    answer = libc.adjtimex(ctypes.byref(timex))
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ClockState(
        synchronised=answer != _TIME_ERROR and not timex.status & _STA_UNSYNC, max_error_us=timex.maxerror
    )


class StepDetector:
    """Notices when the wall clock was set instead of running on.

    Args:
        clock: of the machine; tests pass their own.
        tolerance_ns: drift between two calls that still counts as running on (a time service slews slowly).
    """

    def __init__(self, clock: Clock | None = None, tolerance_ns: int = 500_000_000) -> None:
        self._clock = clock or SystemClock()
        self._tolerance_ns = tolerance_ns
        self._offset_ns = self._offset()

    def step_ns(self) -> int:
        """By how much the wall clock stepped since the last call (negative: back); 0 when it did not."""
        offset = self._offset()
        step, self._offset_ns = offset - self._offset_ns, offset
        return step if abs(step) > self._tolerance_ns else 0

    def _offset(self) -> int:
        return self._clock.wall_ns() - self._clock.monotonic_ns()
