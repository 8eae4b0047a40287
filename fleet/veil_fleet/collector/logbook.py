"""Lines into `events`: each once, none replaced, and how far a log is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_

from veil.messages.evidence import LogEntries
from veil_fleet.collector.alarms import AlarmKind, Raised
from veil_fleet.collector.lines import BadLineError, Line, continues, read_line
from veil_fleet.store.dialect import insert_into
from veil_fleet.store.tables import Log, LogLine

WINDOW = 50_000
"""Lines so far behind the first that lacks are not kept: they are asked for when their time has come."""

MAX_ADVANCE = 5_000
"""Lines that waited and are taken up in one transaction; the next one goes on."""

GRACE_MS = 1_500
"""With several collectors lines overtake each other: so long nothing is asked for."""

_STEP = 2_000

Name = tuple[str, str]
"""(device, log)."""


@dataclass(slots=True)
class Book:
    """One log while a batch is worked on: its row, and what is to be written.

    Attributes:
        state: the row's columns that change.
        fresh: lines to insert, by sequence number.
        whole: lines that became part of the unbroken log, in order.
    """

    device: str
    log: str
    state: dict[str, Any]
    before: dict[str, Any]
    fresh: dict[int, Line] = field(default_factory=dict)
    whole: list[Line] = field(default_factory=list)
    alarms: list[Raised] = field(default_factory=list)

    @classmethod
    def of(cls, row: Row[Any]) -> Book:
        state = {column: getattr(row, column) for column in COLUMNS}
        return cls(row.device, row.name, state, dict(state))

    @property
    def changed(self) -> bool:
        return self.state != self.before

    @property
    def stored_size(self) -> int:
        return int(self.state["stored_size"])

    @property
    def seen_size(self) -> int:
        return int(self.state["seen_size"])

    @property
    def cosigned_size(self) -> int:
        return int(self.state["cosigned_size"])

    @property
    def cut_short(self) -> bool:
        """Whether more lines may wait than one transaction takes up."""
        return len(self.whole) >= MAX_ADVANCE + len(self.fresh)

    def object_to(self, kind: AlarmKind, text: str, **evidence: str | int) -> None:
        self.alarms.append(Raised(self.device, self.log, kind, text, evidence))


COLUMNS = (
    "stored_size",
    "head",
    "seen_size",
    "cosigned_size",
    "peaks",
    "cosigned",
    "cosigned_ms",
    "pending",
    "pending_ms",
    "gap_ms",
    "asked_ms",
    "asks",
    "behind_ms",
)


def ensure_logs(connection: Connection, names: Sequence[Name]) -> None:
    """A row for each, where there is none. `names` are sorted, their devices are there."""
    if names:
        statement = insert_into(connection, Log).on_conflict_do_nothing()
        connection.execute(statement, [{"device": device, "name": log} for device, log in names])


def lock_books(connection: Connection, names: Sequence[Name]) -> dict[Name, Book]:
    """The logs' rows, ours until the transaction ends; locked in one order by all collectors."""
    if not names:
        return {}
    rows = connection.execute(
        select(Log.device, Log.name, *(getattr(Log, column) for column in COLUMNS))
        .where(tuple_(Log.device, Log.name).in_(names))
        .order_by(Log.device, Log.name)
        .with_for_update()
    )
    return {(row.device, row.name): Book.of(row) for row in rows}


def take_lines(connection: Connection, book: Book, messages: Sequence[LogEntries]) -> None:
    """Checks what came and settles what of it is new, what is known, and what contradicts."""
    come: dict[int, Line] = {}
    for message in messages:
        _read(book, message, come)
    if not come:
        return
    known = _stored(connection, book, come)
    for sequence, line in come.items():
        stored = known.get(sequence)
        if stored is None:
            book.fresh[sequence] = line
        elif stored != line.text:
            book.object_to(
                AlarmKind.FORK,
                f"The box shows another line {sequence} than before.",
                seq=sequence,
                stored=stored,
                received=line.text,
            )
    _advance(connection, book)


def catch_up(connection: Connection, book: Book) -> None:
    """Takes up lines that wait in the store."""
    _advance(connection, book)


def _read(book: Book, message: LogEntries, come: dict[int, Line]) -> None:
    for sequence, text in enumerate(message.lines, message.first):
        if sequence >= 2**53:
            return
        try:
            line = read_line(text, book.log, sequence)
        except BadLineError as error:
            book.object_to(
                AlarmKind.BAD_LINE,
                f"Line {sequence} was not taken: {error}.",
                seq=sequence,
                received=text[:_EVIDENCE],
            )
            continue
        book.state["seen_size"] = max(book.seen_size, sequence + 1)
        if sequence >= book.stored_size + WINDOW:
            continue
        twin = come.setdefault(sequence, line)
        if twin.text != text:
            book.object_to(
                AlarmKind.FORK,
                f"The box shows two lines {sequence}.",
                seq=sequence,
                stored=twin.text,
                received=text,
            )


_EVIDENCE = 4_000
"""Characters of a line that is none."""


def _stored(connection: Connection, book: Book, come: dict[int, Line]) -> dict[int, str]:
    """The lines that are there already, of those that came; none is looked for where none can be."""
    before = int(book.before["stored_size"])
    possible = [sequence for sequence in come if sequence < before or book.before["seen_size"] > before]
    if not possible:
        return {}
    rows = connection.execute(
        select(LogLine.seq, LogLine.line).where(
            LogLine.device == book.device,
            LogLine.log == book.log,
            LogLine.seq.between(min(possible), max(possible)),
        )
    )
    return {row.seq: row.line for row in rows if row.seq in come}


def _advance(connection: Connection, book: Book) -> None:
    """Goes on from the last line that is whole, over lines that just came and lines that waited."""
    waiting = _waiting(connection, book) if book.before["seen_size"] > book.before["stored_size"] else None
    ahead = next(waiting, None) if waiting else None
    while not book.cut_short:
        sequence = book.stored_size
        while ahead is not None and ahead.sequence < sequence:
            ahead = next(waiting, None) if waiting else None
        line = book.fresh.get(sequence)
        if line is None and ahead is not None and ahead.sequence == sequence:
            line = ahead
        if line is None:
            return
        if not continues(line, book.state["head"]):
            book.object_to(
                AlarmKind.BAD_LINE,
                f"Line {sequence} does not name the line before it.",
                seq=sequence,
                received=line.text,
                expected=book.state["head"].hex(),
            )
            book.fresh.pop(sequence, None)
            return
        book.whole.append(line)
        book.state["stored_size"] = sequence + 1
        book.state["head"] = line.leaf


def _waiting(connection: Connection, book: Book) -> Iterator[Line]:
    """Lines that are stored beyond the first that lacks, in order."""
    start = book.stored_size
    while True:
        rows = connection.execute(
            select(LogLine.seq, LogLine.line)
            .where(LogLine.device == book.device, LogLine.log == book.log, LogLine.seq >= start)
            .order_by(LogLine.seq)
            .limit(_STEP)
        ).all()
        for row in rows:
            yield read_line(row.line, book.log, row.seq)
        if len(rows) < _STEP:
            return
        start = rows[-1].seq + 1


def write_lines(connection: Connection, books: Sequence[Book], received_ms: int) -> None:
    """The fresh lines of all books, in one statement."""
    rows = [
        {
            "device": book.device,
            "log": book.log,
            "seq": line.sequence,
            "kind": line.kind,
            "time": line.time,
            "received_ms": received_ms,
            "line": line.text,
        }
        for book in books
        for line in book.fresh.values()
    ]
    if rows:
        connection.execute(insert_into(connection, LogLine).on_conflict_do_nothing(), rows)


def lines_between(connection: Connection, book: Book, first: int, end: int) -> Iterator[bytes]:
    """Lines first .. end - 1, from memory where all of them just came, else from the store."""
    if first >= end:
        return
    if all(sequence in book.fresh for sequence in (first, end - 1)) and all(
        sequence in book.fresh for sequence in range(first, end)
    ):
        for sequence in range(first, end):
            yield book.fresh[sequence].text.encode()
        return
    for start in range(first, end, _STEP):
        stop = min(start + _STEP, end)
        rows = connection.execute(
            select(LogLine.line)
            .where(
                LogLine.device == book.device,
                LogLine.log == book.log,
                LogLine.seq >= start,
                LogLine.seq < stop,
            )
            .order_by(LogLine.seq)
        )
        for row in rows:
            yield row.line.encode()


def settle_gap(book: Book, now_ms: int) -> None:
    """Since when lines lack and since when some are not cosigned: progress starts both anew."""
    state, before = book.state, book.before
    if book.stored_size >= book.seen_size:
        state["gap_ms"] = None
        if before["gap_ms"] is not None or book.cosigned_size > before["cosigned_size"]:
            state.update(asked_ms=None, asks=0)
    elif state["gap_ms"] is None or book.stored_size > before["stored_size"]:
        # While lines flow in, those that lack need not be asked for again.
        asked = None if state["asked_ms"] is None else now_ms
        state.update(gap_ms=now_ms, asked_ms=asked, asks=min(state["asks"], 1))
        if book.cut_short:
            # What comes next is here: it is taken up without a pause.
            state.update(gap_ms=now_ms - GRACE_MS, asked_ms=None, asks=0)
    if max(book.seen_size, book.stored_size) <= book.cosigned_size:
        state["behind_ms"] = None
    elif state["behind_ms"] is None or book.cosigned_size > before["cosigned_size"]:
        state["behind_ms"] = now_ms
