"""Alarms: raised any number of times, one open row for each device, log and kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, update

from veil_fleet.store.dialect import insert_into
from veil_fleet.store.tables import OPEN, Alarm

MAX_EVIDENCE = 8
"""Pieces kept with one alarm; what follows is counted."""

MAX_TEXT = 1000
HEALED_BY = "veil-fleet"
"""Who closes an alarm that is over by itself."""


class AlarmKind(StrEnum):
    FORK = "fork"
    ROLLBACK = "rollback"
    GAP = "gap"
    BAD_SIGNATURE = "bad_signature"
    BAD_LINE = "bad_line"
    BAD_MESSAGE = "bad_message"
    UNKNOWN_KEY = "unknown_key"
    LATE = "late"
    ALTERED_RECORDING = "altered_recording"


@dataclass(frozen=True, slots=True)
class Raised:
    """One alarm. `evidence`: what proves it, for people and for a court; strings and integers."""

    device: str
    log: str
    kind: AlarmKind
    text: str
    evidence: Mapping[str, str | int] = field(default_factory=dict)


def write_alarms(connection: Connection, raised: Iterable[Raised], now_ms: int) -> None:
    """Opens them, or counts them on the rows that are open; new evidence is added, none is replaced."""
    groups: dict[tuple[str, str, str], list[Raised]] = {}
    for alarm in raised:
        groups.setdefault((alarm.device, alarm.log, str(alarm.kind)), []).append(alarm)
    for (device, log, kind), alarms in sorted(groups.items()):
        insert = insert_into(connection, Alarm)
        statement = insert.values(
            device=device,
            log=log,
            kind=kind,
            text=printable(alarms[0].text, MAX_TEXT),
            evidence="[]",
            raised_ms=now_ms,
            last_ms=now_ms,
            count=len(alarms),
        ).on_conflict_do_update(
            index_elements=["device", "log", "kind"],
            index_where=OPEN,
            set_={"count": Alarm.count + len(alarms), "last_ms": now_ms},
        )
        row = connection.execute(statement.returning(Alarm.id, Alarm.evidence)).one()
        kept = json.loads(row.evidence or "[]")
        added = [dict(alarm.evidence) for alarm in alarms if alarm.evidence]
        merged = _merged(kept, added)
        if merged != kept:
            connection.execute(update(Alarm).where(Alarm.id == row.id).values(evidence=json.dumps(merged)))


def _merged(
    kept: list[dict[str, str | int]], added: list[dict[str, str | int]]
) -> list[dict[str, str | int]]:
    merged = list(kept)
    for piece in added:
        if len(merged) >= MAX_EVIDENCE:
            break
        if piece not in merged:
            merged.append(piece)
    return merged


def heal(connection: Connection, healed: Iterable[tuple[str, str, AlarmKind]], now_ms: int) -> None:
    """Closes alarms whose cause is gone: (device, log, kind)."""
    for device, log, kind in sorted(healed):
        connection.execute(
            update(Alarm)
            .where(Alarm.device == device, Alarm.log == log, Alarm.kind == str(kind), OPEN)
            .values(closed_ms=now_ms, closed_by=HEALED_BY, closed_comment="It is over.")
        )


def printable(text: str, limit: int) -> str:
    """What a database's text column takes: PostgreSQL has no NUL."""
    return text.replace("\0", "\ufffd")[:limit]
