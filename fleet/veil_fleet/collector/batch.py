"""One batch of messages in one transaction: what it changes in the store, and what is then to be said.

All collectors lock in one order (devices, then logs, then alarms, each by name), so that they wait for each
other and never in a circle.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, update

from veil.audit.keyring import Keyring
from veil.audit.note import VerifierKey
from veil.messages.evidence import CheckpointNote, Keys, LogEntries
from veil.messages.topics import Kind, Topic
from veil_fleet.collector.alarms import AlarmKind, Raised, heal, write_alarms
from veil_fleet.collector.devices import (
    ensure_devices,
    lock_devices,
    write_camera_states,
    write_health,
    write_statuses,
)
from veil_fleet.collector.heard import Heard, Received, Refused, hear
from veil_fleet.collector.keys import Accepted, Keyrings, check_keys
from veil_fleet.collector.logbook import (
    COLUMNS,
    Book,
    Name,
    ensure_logs,
    lines_between,
    lock_books,
    settle_gap,
    take_lines,
    write_lines,
)
from veil_fleet.collector.nudge import Nudge
from veil_fleet.collector.outgoing import Outcome, Outgoing
from veil_fleet.collector.segments import write_segments
from veil_fleet.store.dialect import insert_into
from veil_fleet.store.tables import Checkpoint, Device, Log
from veil_fleet.witness import (
    Again,
    Cosigned,
    LacksKey,
    LacksLines,
    Objection,
    Older,
    Overtaken,
    Seen,
    Witness,
)


class Store:
    """Works on batches; remembers which rows are there and the keys of boxes."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._rings = Keyrings()
        self._nudge = Nudge()
        self._devices: set[str] = set()
        self._logs: set[Name] = set()

    def forget(self) -> None:
        """After a transaction that failed: what was learnt in it may not be there."""
        self._rings.forget()
        self._devices.clear()
        self._logs.clear()

    def take(self, connection: Connection, batch: Sequence[Received], now_ms: int) -> Outcome:
        """Within a transaction. After an exception: roll back, and `forget`."""
        heard: list[Heard] = []
        alarms: list[Raised] = []
        for received in batch:
            match hear(received):
                case Heard() as message:
                    heard.append(message)
                case Refused() as refused:
                    alarms.append(Raised(refused.device, refused.log, AlarmKind.BAD_MESSAGE, refused.text))
                case None:
                    pass
        self._ensure({message.device for message in heard} | {alarm.device for alarm in alarms}, connection)
        # All at once and in order of their names: collectors that share a store then never wait in a circle.
        known = lock_devices(connection, sorted({message.device for message in heard}))
        shown = self._take_keys(connection, heard, known, alarms)
        write_statuses(connection, heard)
        write_health(connection, heard)
        write_camera_states(connection, heard)
        outcome = Outcome(publish=self._nudge.look(connection, heard, now_ms))
        healed = self._take_evidence(connection, heard, shown, alarms, outcome, now_ms)
        write_alarms(connection, alarms, now_ms)
        heal(connection, healed, now_ms)
        return outcome

    def advance(self, connection: Connection, books: dict[Name, Book], now_ms: int) -> Outcome:
        """Works on books that are locked already and got lines without a message."""
        outcome, alarms = Outcome(), list[Raised]()
        healed = self._finish(connection, books, {}, set(), alarms, outcome, now_ms)
        write_alarms(connection, alarms, now_ms)
        heal(connection, healed, now_ms)
        return outcome

    def _ensure(self, names: set[str], connection: Connection) -> None:
        new = sorted(names - self._devices)
        if new:
            ensure_devices(connection, new)
            self._devices.update(new)

    def _take_keys(
        self,
        connection: Connection,
        heard: Sequence[Heard],
        known: dict[str, tuple[str, str | None]],
        alarms: list[Raised],
    ) -> set[str]:
        """The boxes that showed their keys, whether these are new or not. Learns the keys of all."""
        shown = set()
        for message in heard:
            if not isinstance(message.body, Keys) or message.device not in known:
                continue
            device = message.device
            shown.add(device)
            lines, pinned = known[device]
            match check_keys(device, message.body, lines, pinned):
                case Accepted() as accepted:
                    connection.execute(
                        update(Device)
                        .where(Device.name == device)
                        .values(keys=accepted.lines, pinned_key=accepted.pinned)
                    )
                    known[device] = accepted.lines, accepted.pinned
                case Raised() as raised:
                    alarms.append(raised)
                case None:
                    pass
        for message in heard:
            if isinstance(message.body, CheckpointNote | Keys) and message.device in known:
                self._rings.put(message.device, known[message.device][0])
        return shown

    def _take_evidence(
        self,
        connection: Connection,
        heard: Sequence[Heard],
        shown: set[str],
        alarms: list[Raised],
        outcome: Outcome,
        now_ms: int,
    ) -> set[tuple[str, str, AlarmKind]]:
        lines: dict[Name, list[LogEntries]] = {}
        notes: dict[Name, list[str]] = {}
        for message in heard:
            if isinstance(message.body, LogEntries):
                lines.setdefault((message.device, message.body.log), []).append(message.body)
            elif isinstance(message.body, CheckpointNote):
                notes.setdefault((message.device, message.body.log), []).append(message.body.note)
        names = lines.keys() | notes.keys()
        new = sorted(names - self._logs)
        if new:
            ensure_logs(connection, new)
            self._logs.update(new)
        if shown:
            waiting = select(Log.device, Log.name).where(Log.device.in_(shown), Log.pending != "")
            names = names | {(row.device, row.name) for row in connection.execute(waiting)}
        if not names:
            return set()
        books = lock_books(connection, sorted(names))
        for name, messages in lines.items():
            take_lines(connection, books[name], messages)
        return self._finish(connection, books, notes, shown, alarms, outcome, now_ms)

    def _finish(
        self,
        connection: Connection,
        books: dict[Name, Book],
        notes: dict[Name, list[str]],
        shown: set[str],
        alarms: list[Raised],
        outcome: Outcome,
        now_ms: int,
    ) -> set[tuple[str, str, AlarmKind]]:
        """Lines and segments are written, checkpoints examined, the logs' rows brought up to date."""
        write_lines(connection, list(books.values()), now_ms)
        alarms.extend(write_segments(connection, books.values()))
        desk = _Desk(connection, self._witness, outcome, now_ms)
        for name, book in books.items():
            candidates = list(dict.fromkeys(notes.get(name, [])))
            pending = book.state["pending"]
            if pending and pending not in candidates and (book.whole or book.device in shown):
                candidates.append(pending)
            if candidates:
                ring = self._ring(connection, book.device)
                desk.examine(book, candidates, ring, book.device in shown)
            outcome.lines += len(book.fresh)
            settle_gap(book, now_ms)
            alarms.extend(book.alarms)
        desk.write()
        _write_books(connection, books.values())
        return {
            (book.device, book.log, kind)
            for book in books.values()
            for kind, column in ((AlarmKind.GAP, "gap_ms"), (AlarmKind.LATE, "behind_ms"))
            if book.before[column] is not None and book.state[column] is None
        }

    def _ring(self, connection: Connection, device: str) -> Keyring:
        found = self._rings.get(device)
        if found is not None:
            return found
        row = connection.execute(select(Device.keys).where(Device.name == device)).one()
        return self._rings.put(device, row.keys)


class _Desk:
    """Examines checkpoints, and collects what follows from the verdicts."""

    def __init__(self, connection: Connection, witness: Witness, outcome: Outcome, now_ms: int) -> None:
        self._connection = connection
        self._witness = witness
        self._outcome = outcome
        self._now_ms = now_ms
        self._rows: list[dict[str, Any]] = []

    def examine(self, book: Book, notes: Sequence[str], ring: Keyring, keys_are_fresh: bool) -> None:  # noqa: FBT001
        """`keys_are_fresh`: the box has just shown all of its keys."""
        newest: str | None = None
        for note in notes:
            seen = Seen(
                book.device,
                book.log,
                book.stored_size,
                book.cosigned_size,
                book.state["peaks"],
                book.state["cosigned"],
            )
            verdict = self._witness.examine(
                note,
                seen,
                ring,
                lambda first, end: lines_between(self._connection, book, first, end),
                lambda size: self._older(book, size),
                self._now_ms // 1000,
            )
            match verdict:
                case Cosigned():
                    self._cosign(book, verdict)
                    newest = verdict.note
                case Again():
                    self._publish(book, verdict.note)
                case LacksLines():
                    book.state["seen_size"] = max(book.seen_size, verdict.size)
                    self._wait(book, note, ring)
                case LacksKey():
                    self._outcome.unknown_keys.add(book.device)
                    if keys_are_fresh and ring.records:
                        book.object_to(
                            AlarmKind.UNKNOWN_KEY,
                            f"Signed with {verdict.key}, which is not one of the box's keys.",
                            received=note,
                        )
                    self._wait(book, note, ring)
                case Overtaken():
                    # The receipt for more than that was lost on its way.
                    self._publish(book, book.state["cosigned"])
                case Objection():
                    book.alarms.append(verdict.alarm)
            settled = not isinstance(verdict, LacksLines | LacksKey)
            if settled and book.state["pending"] == note:
                book.state.update(pending="", pending_ms=None)
        if newest is not None:
            self._publish(book, newest)

    def _wait(self, book: Book, note: str, ring: Keyring) -> None:
        """Keeps the newest that waits; one that cannot be verified yet never displaces one that could."""
        pending = book.state["pending"]
        if note == pending:
            return
        if pending and _rank(pending, ring) > _rank(note, ring):
            return
        book.state.update(pending=note, pending_ms=self._now_ms)

    def _cosign(self, book: Book, verdict: Cosigned) -> None:
        book.state.update(
            cosigned_size=verdict.size,
            peaks=verdict.peaks,
            cosigned=verdict.note,
            cosigned_ms=self._now_ms,
        )
        self._rows.append(
            {
                "device": book.device,
                "log": book.log,
                "size": verdict.size,
                "note": verdict.note,
                "peaks": verdict.peaks,
                "cosigned_ms": self._now_ms,
            }
        )
        self._outcome.cosigned += 1
        if verdict.alarm is not None:
            book.alarms.append(verdict.alarm)

    def _older(self, book: Book, size: int) -> Older:
        # What this batch has cosigned is not in the table yet.
        self.write()
        row = self._connection.execute(
            select(Checkpoint.size, Checkpoint.peaks, Checkpoint.note)
            .where(Checkpoint.device == book.device, Checkpoint.log == book.log, Checkpoint.size <= size)
            .order_by(Checkpoint.size.desc())
            .limit(1)
        ).first()
        return Older(row.size, row.peaks, row.note) if row else Older(0, b"", "")

    def _publish(self, book: Book, note: str) -> None:
        topic = Topic(book.device, Kind.COSIGN, book.log)
        self._outcome.publish.append(Outgoing(str(topic), CheckpointNote(log=book.log, note=note).encode()))

    def write(self) -> None:
        if self._rows:
            statement = insert_into(self._connection, Checkpoint).on_conflict_do_nothing()
            self._connection.execute(statement, self._rows)
            self._rows = []


def _names(note: str, key: VerifierKey) -> bool:
    """Whether a signature line is said to be this key's: what follows the name begins with the key's id."""
    start = base64.b64encode(key.id + bytes(2)).decode()[:5]
    return f"— {key.name} {start}" in note


def _rank(note: str, ring: Keyring) -> tuple[bool, int]:
    """Whether a key that we know signed it, then its size: unverified, for notes that wait."""
    known = any(_names(note, record.new) for record in ring.records)
    lines = note.split("\n", 2)
    size = int(lines[1]) if len(lines) > 1 and lines[1].isdecimal() and len(lines[1]) <= 16 else 0
    return known, size


def _write_books(connection: Connection, books: Iterable[Book]) -> None:
    rows = [
        {"of_device": book.device, "of_name": book.log}
        | {f"new_{column}": value for column, value in book.state.items()}
        for book in books
        if book.changed
    ]
    if rows:
        connection.execute(
            update(Log)
            .where(and_(Log.device == bindparam("of_device"), Log.name == bindparam("of_name")))
            .values({column: bindparam(f"new_{column}") for column in COLUMNS}),
            rows,
        )
