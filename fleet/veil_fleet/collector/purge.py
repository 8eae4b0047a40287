"""What is old and no evidence is thrown away, a piece at a time."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, delete, exists, select
from sqlalchemy.orm import aliased

from veil_fleet.settings import RetentionSettings
from veil_fleet.store.engine import writing
from veil_fleet.store.tables import Access, Alarm, HealthPoint

DAY_MS = 86_400_000
THINNED_MS = 600_000
STEP_MS = 3_600_000
"""Thinned in one transaction: an hour of the fleet."""

_ENOUGH = 48
"""Hours with nothing to thin: what lies before was thinned by the runs before."""


def purge(engine: Engine, retention: RetentionSettings, now_ms: int) -> None:
    """Health points beyond their time go, older ones are thinned; so do closed alarms and accesses."""
    gone = now_ms - retention.health_days * DAY_MS
    with writing(engine) as connection:
        connection.execute(delete(HealthPoint).where(HealthPoint.time_ms < gone))
        closed = now_ms - retention.alarm_days * DAY_MS
        connection.execute(delete(Alarm).where(Alarm.closed_ms < closed))
        connection.execute(delete(Access).where(Access.time_ms < now_ms - retention.access_days * DAY_MS))
    full = (now_ms - retention.health_full_days * DAY_MS) // THINNED_MS * THINNED_MS
    untouched = 0
    for end in range(full, gone, -STEP_MS):
        with writing(engine) as connection:
            untouched = 0 if _thin(connection, end - STEP_MS, end) else untouched + 1
        if untouched > _ENOUGH:
            return


def _thin(connection: Connection, start: int, end: int) -> int:
    """Keeps the first point of each ten minutes and camera in [start, end); returns how many went."""
    older = aliased(HealthPoint)
    bucket = HealthPoint.time_ms - HealthPoint.time_ms % THINNED_MS
    earlier = exists(
        select(1).where(
            older.device == HealthPoint.device,
            older.camera == HealthPoint.camera,
            older.time_ms >= bucket,
            older.time_ms < HealthPoint.time_ms,
        )
    )
    result = connection.execute(
        delete(HealthPoint).where(HealthPoint.time_ms >= start, HealthPoint.time_ms < end, earlier)
    )
    return int(result.rowcount)
