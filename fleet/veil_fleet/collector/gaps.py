"""What should have come and did not: lines asked for again, and alarms where nothing helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, select, update

from veil.messages.evidence import Resend
from veil.messages.topics import Kind, Topic
from veil_fleet.collector.alarms import AlarmKind, Raised, write_alarms
from veil_fleet.collector.batch import Store
from veil_fleet.collector.logbook import GRACE_MS, Name, catch_up, lock_books
from veil_fleet.collector.outgoing import Outcome, Outgoing
from veil_fleet.store.queries import Liveness, status_of
from veil_fleet.store.tables import OPEN, Alarm, Device, Log, LogLine

ASK_FIRST_MS, ASK_MOST_MS = 3_000, 30_000
GAP_ALARM_MS = 60_000
UNSIGNED_MS = 75_000
"""A box signs at least every 60 s."""

LATE_ALARM_MS = 180_000
MAX_LOGS = 500
"""Logs that are looked after in one transaction."""

MAX_LINES = 10_000
"""Asked for at once."""


def ask_again(connection: Connection, store: Store, now_ms: int) -> Outcome:
    """Takes up lines that wait, and asks for those that lack; each log at growing intervals."""
    rows = connection.execute(
        select(Log.device, Log.name, Log.asked_ms, Log.asks, Log.stored_size, Log.seen_size)
        .where(Log.gap_ms.is_not(None), Log.gap_ms <= now_ms - GRACE_MS)
        .order_by(Log.asked_ms.nulls_first())
        .limit(MAX_LOGS * 4)
        .with_for_update(skip_locked=True)
    ).all()
    due = [row for row in rows if _is_due(row, now_ms)][:MAX_LOGS]
    outcome = Outcome()
    waiting: list[Name] = []
    for row in due:
        next_seq = connection.scalar(
            select(func.min(LogLine.seq)).where(
                LogLine.device == row.device, LogLine.log == row.name, LogLine.seq >= row.stored_size
            )
        )
        if next_seq == row.stored_size:
            waiting.append((row.device, row.name))
            continue
        end = row.seen_size if next_seq is None else next_seq
        count = max(1, min(end - row.stored_size, MAX_LINES))
        topic = Topic(row.device, Kind.RESEND, row.name)
        message = Resend(log=row.name, first=row.stored_size, count=count)
        outcome.publish.append(Outgoing(str(topic), message.encode()))
        connection.execute(
            update(Log)
            .where(Log.device == row.device, Log.name == row.name)
            .values(asked_ms=now_ms, asks=row.asks + 1)
        )
    if waiting:
        books = lock_books(connection, waiting)
        for book in books.values():
            catch_up(connection, book)
        outcome.add(store.advance(connection, books, now_ms))
        outcome.more_waits = any(book.cut_short for book in books.values())
    return outcome


def ask_for_checkpoints(connection: Connection, now_ms: int) -> Outcome:
    """Lines are whole and no checkpoint over them came: a box sends it again behind any line asked for."""
    rows = connection.execute(
        select(Log.device, Log.name, Log.asked_ms, Log.asks, Log.cosigned_size)
        .where(Log.behind_ms <= now_ms - UNSIGNED_MS, Log.gap_ms.is_(None), Log.pending == "")
        .order_by(Log.asked_ms.nulls_first())
        .limit(MAX_LOGS)
        .with_for_update(skip_locked=True)
    ).all()
    outcome = Outcome()
    for row in rows:
        if not _is_due(row, now_ms):
            continue
        topic = Topic(row.device, Kind.RESEND, row.name)
        wanted = Resend(log=row.name, first=row.cosigned_size, count=1)
        outcome.publish.append(Outgoing(str(topic), wanted.encode()))
        connection.execute(
            update(Log)
            .where(Log.device == row.device, Log.name == row.name)
            .values(asked_ms=now_ms, asks=row.asks + 1)
        )
    return outcome


def _is_due(row: Any, now_ms: int) -> bool:
    if row.asked_ms is None or row.asked_ms > now_ms:
        return True
    wait_ms = min(ASK_FIRST_MS * 2 ** min(row.asks - 1, 8), ASK_MOST_MS) if row.asks else 0
    return bool(now_ms - row.asked_ms >= wait_ms)


def raise_overdue(connection: Connection, now_ms: int) -> None:
    """Alarms for gaps that stay, for boxes that are there and not cosigned, and for keys that never came."""
    raised = [
        Raised(
            row.device,
            row.name,
            AlarmKind.GAP,
            f"Line {row.stored_size} did not come, though the box has {row.seen_size} lines.",
        )
        for row in _overdue(connection, AlarmKind.GAP, Log.gap_ms <= now_ms - GAP_ALARM_MS)
    ]
    raised += [
        Raised(
            row.device,
            row.name,
            AlarmKind.UNKNOWN_KEY,
            "A checkpoint waits for a key that the box has not shown.",
            {"received": row.pending},
        )
        for row in _overdue(
            connection,
            AlarmKind.UNKNOWN_KEY,
            Log.pending != "",
            Log.gap_ms.is_(None),
            Log.pending_ms <= now_ms - GAP_ALARM_MS,
        )
    ]
    raised += [
        Raised(
            row.device,
            row.name,
            AlarmKind.LATE,
            f"For {(now_ms - row.behind_ms) // 60_000} minutes nothing could be cosigned: "
            f"{row.cosigned_size} lines are, {max(row.seen_size, row.stored_size)} came.",
        )
        for row in _overdue(
            connection,
            AlarmKind.LATE,
            Log.behind_ms <= now_ms - LATE_ALARM_MS,
            Device.status_state == "online",
            Device.status_ms >= now_ms - 3_600_000,
        )
        if status_of(row, now_ms) is Liveness.ONLINE
    ]
    write_alarms(connection, raised, now_ms)


def _overdue(connection: Connection, kind: AlarmKind, *conditions: ColumnElement[bool]) -> Sequence[Any]:
    """Logs for which there is no open alarm of this kind yet."""
    told = exists().where(Alarm.device == Log.device, Alarm.log == Log.name, Alarm.kind == str(kind), OPEN)
    return connection.execute(
        select(
            Log.device,
            Log.name,
            Log.stored_size,
            Log.seen_size,
            Log.cosigned_size,
            Log.pending,
            Log.behind_ms,
            Device.status_state,
            Device.status_reason,
            Device.status_ms,
            Device.status_expires_s,
        )
        .join(Device, Device.name == Log.device)
        .where(*conditions, ~told)
        .limit(MAX_LOGS)
    ).all()
