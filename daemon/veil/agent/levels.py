"""States with hysteresis: a value that trembles around a limit is one change, not many. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Generic, TypeVar

from veil.domain.clock import NANOSECONDS
from veil.host.thermal import Temperature

T = TypeVar("T")


class DiskState(StrEnum):
    OK = "ok"
    LOW = "low"
    """Less than twice what has to stay free."""
    FULL = "full"
    """Less than what has to stay free: recording stops."""


class DiskLevels:
    """The state of one file system. A quarter more than a limit is needed to be over it again.

    Args:
        least: bytes that have to stay free.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self.state = DiskState.OK

    def update(self, free: int) -> bool:
        """Whether the state changed; `free` in bytes."""
        least, before = self._least, self.state
        to_full = least * 5 // 4 if before is DiskState.FULL else least
        to_low = least * 5 // 2 if before is not DiskState.OK else least * 2
        if free < to_full:
            self.state = DiskState.FULL
        elif free < to_low:
            self.state = DiskState.LOW
        else:
            self.state = DiskState.OK
        return self.state is not before


class ThermalState(StrEnum):
    OK = "ok"
    HOT = "hot"
    """A zone is within five degrees of where the kernel throttles or switches off."""


_COOL_C = 10.0


def thermal_state(before: ThermalState, zones: Sequence[Temperature]) -> ThermalState:
    """Cool again only ten degrees below each limit. Without zones that say a limit: ok."""
    if any(zone.is_hot for zone in zones):
        return ThermalState.HOT
    is_cool = all(zone.limit_celsius is None or zone.celsius < zone.limit_celsius - _COOL_C for zone in zones)
    return ThermalState.OK if is_cool else before


class Settled(Generic[T]):
    """A value that counts once it has held for a while.

    Args:
        initial: what counts before.
        settle_s: how long a new value must hold.
    """

    def __init__(self, initial: T, settle_s: float) -> None:
        self.value = initial
        self._settle_ns = int(settle_s * NANOSECONDS)
        self._candidate = initial
        self._since_ns = 0

    def update(self, value: T, now_ns: int) -> bool:
        """Whether what counts changed; `now_ns` is monotonic."""
        if value != self._candidate:
            self._candidate, self._since_ns = value, now_ns
        if self._candidate != self.value and now_ns - self._since_ns >= self._settle_ns:
            self.value = self._candidate
            return True
        return False
