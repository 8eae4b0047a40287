"""What a box is doing, in SQL, as `store.queries.status_of` has it: "online" holds only until its expiry."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, literal

from veil_fleet.store.queries import CLOCK_TOLERANCE_MS
from veil_fleet.store.tables import Device


class Standing(StrEnum):
    """Worst first: what needs a person most stands on top of the overview."""

    LOST = "lost"
    SILENT = "silent"
    STOPPED = "stopped"
    NEVER = "never"
    ONLINE = "online"
    REVOKED = "revoked"

    @property
    def words(self) -> str:
        return "never seen" if self is Standing.NEVER else self.value

    @property
    def meaning(self) -> str:
        """For people."""
        match self:
            case Standing.LOST:
                return "its connection broke"
            case Standing.SILENT:
                return "its last status has expired"
            case Standing.STOPPED:
                return "it said that it stops"
            case Standing.NEVER:
                return "enrolled, not heard of yet"
            case Standing.ONLINE:
                return "it said so within its time"
            case Standing.REVOKED:
                return "its certificate was revoked"


_RANK: Final = {standing: number for number, standing in enumerate(Standing)}


def standing_at(now_ms: int) -> ColumnElement[str]:
    """One of `Standing`."""
    return _by_standing(now_ms, {standing: standing.value for standing in Standing})


def rank_at(now_ms: int) -> ColumnElement[int]:
    """For sorting: 0 is the worst."""
    return _by_standing(now_ms, _RANK)


def _by_standing(now_ms: int, values: dict[Standing, Any]) -> ColumnElement[Any]:
    fresh = and_(
        Device.status_state == "online",
        Device.status_ms <= now_ms + CLOCK_TOLERANCE_MS,
        Device.status_ms + Device.status_expires_s * 1000 > now_ms,
    )
    offline = Device.status_state == "offline"
    return case(
        (Device.revoked_ms.is_not(None), literal(values[Standing.REVOKED])),
        (Device.status_ms.is_(None), literal(values[Standing.NEVER])),
        (fresh, literal(values[Standing.ONLINE])),
        (and_(offline, Device.status_reason == "stopped"), literal(values[Standing.STOPPED])),
        (offline, literal(values[Standing.LOST])),
        else_=literal(values[Standing.SILENT]),
    )
