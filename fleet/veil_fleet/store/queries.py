"""Questions that more than one part asks of the store."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

CLOCK_TOLERANCE_MS = 5_000
"""A status from further in the future says that our own clock stepped back; it proves nothing."""


class Liveness(StrEnum):
    """Whether a box is there, and how we know."""

    ONLINE = "online"
    STOPPED = "stopped"
    """It said goodbye."""
    LOST = "lost"
    """The broker said so: its connection broke."""
    SILENT = "silent"
    """Its last status has expired: power, network or broker away, or the agent hangs."""
    NEVER = "never"
    """It was enrolled and has not been heard of."""


class HasStatus(Protocol):
    """A row of `devices`, or of a query with these columns."""

    @property
    def status_state(self) -> str: ...
    @property
    def status_reason(self) -> str: ...
    @property
    def status_ms(self) -> int | None: ...
    @property
    def status_expires_s(self) -> int: ...


def status_of(device: HasStatus, now_ms: int) -> Liveness:
    """What holds at `now_ms` (POSIX milliseconds of the fleet manager's clock)."""
    heard = device.status_ms
    if heard is None:
        return Liveness.NEVER
    if device.status_state == "offline":
        return Liveness.STOPPED if device.status_reason == "stopped" else Liveness.LOST
    if device.status_state != "online" or heard > now_ms + CLOCK_TOLERANCE_MS:
        return Liveness.SILENT
    return Liveness.ONLINE if now_ms < heard + device.status_expires_s * 1000 else Liveness.SILENT
