"""What waits for the fleet manager's receipt, on disk (SQLite, WAL). The logs are the truth behind it.

Lines leave by a cosignature alone (`settle`). What does not fit stays in the log files and is taken later.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from veil.errors import VeilError

PAGE_BYTES: Final = 16384
HEALTH_KEPT: Final = 20
RESERVE_BYTES: Final = 8 << 20
"""Over the limit of lines: checkpoints, and the pages that deletions need."""
MEMORY_BYTES: Final = 16 << 20
"""What is kept while the disk does not take a file."""

_VERSION = 1
_SCHEMA = """
CREATE TABLE lines(log TEXT NOT NULL, seq INTEGER NOT NULL, crc INTEGER NOT NULL, line BLOB NOT NULL,
                   PRIMARY KEY(log, seq)) WITHOUT ROWID;
CREATE TABLE checkpoints(log TEXT PRIMARY KEY, size INTEGER NOT NULL, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE health(id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
"""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_SCHEMA}


class OutboxDamagedError(VeilError):
    """The database is not what was written. `Outbox.renew` moves it aside and begins anew, from the logs."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The newest checkpoint of a log that is not cosigned yet."""

    size: int
    note: str


@dataclass(slots=True)
class _Span:
    """Lines `first` .. `end` - 1 are there, of `size` bytes together."""

    first: int
    end: int
    size: int = 0


class Outbox:
    """One thread's. Every write is durable when it returns.

    Attributes:
        problem: why nothing more is taken, for people; empty while there is room.
    """

    def __init__(self, connection: sqlite3.Connection, max_bytes: int, problem: str = "") -> None:
        self._db = connection
        self._max_bytes = max_bytes
        self._lasting = problem
        self.problem = problem
        self._spans: dict[str, _Span] = {}

    @classmethod
    def open(cls, path: Path, max_bytes: int) -> Self:
        """
        Args:
            path: made if missing, with its folder. Where the disk does not take it, a smaller one in memory
                does, and `problem` says why.
            max_bytes: of lines.

        Raises OutboxDamagedError.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            box = cls(_connect(str(path)), max_bytes)
            box._prepare()
        except OutboxDamagedError:
            raise
        except (OSError, sqlite3.Error) as error:
            if _is_damage(error):
                raise OutboxDamagedError(f"{path} is damaged: {error}.") from error
            return cls._in_memory(max_bytes, error)
        return box

    @classmethod
    def renew(cls, path: Path, max_bytes: int) -> tuple[Self, Path | None]:
        """The old file lies under the second value, None where it cannot be moved."""
        count = 0
        while (aside := path.with_name(f"{path.name}.damaged-{count}")).exists():
            count += 1
        try:
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            return cls._in_memory(max_bytes, error), None
        return cls.open(path, max_bytes), aside

    @classmethod
    def _in_memory(cls, max_bytes: int, error: Exception) -> Self:
        problem = f"the outbox cannot be kept on disk ({error}); lines wait in the logs"
        box = cls(_connect(":memory:"), min(max_bytes, MEMORY_BYTES), problem)
        box._prepare()
        return box

    def _prepare(self) -> None:
        pages = (self._max_bytes + RESERVE_BYTES) // PAGE_BYTES
        for pragma in (
            f"page_size={PAGE_BYTES}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "journal_size_limit=16777216",
            "cache_size=-2048",
            "trusted_schema=OFF",
            f"max_page_count={pages}",
        ):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        if (found := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise OutboxDamagedError(f"The outbox is damaged: {str(found)[:200]}.")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._write():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise OutboxDamagedError(f"The outbox has version {version}, this program knows {_VERSION}.")
        wanted = "SELECT log, min(seq), max(seq) + 1, count(*), sum(length(line)) FROM lines GROUP BY log"
        for log, first, end, count, size in self._db.execute(wanted).fetchall():
            if end - first == count:
                self._spans[log] = _Span(first, end, size)
            else:
                self._db.execute("DELETE FROM lines WHERE log = ?", (log,))

    def begin(self, log: str, size: int) -> None:
        """To be called once for each log: lines below `size` are cosigned. Lines that do not go on from there
        are forgotten; the log has them."""
        span = self._spans.setdefault(log, _Span(size, size))
        if span.first > size or span.end < size:
            self.forget(log, size)
        else:
            self.settle(log, size)

    def settle(self, log: str, size: int) -> None:
        """Lines below `size` have their receipt: they and the checkpoints up to there leave."""
        span = self._spans[log]
        below = "FROM lines WHERE log = ? AND seq < ?"

        def leave() -> None:
            with self._write():
                counted = self._db.execute(f"SELECT total(length(line)) {below}", (log, size)).fetchone()[0]
                span.size = max(0, span.size - int(counted))
                self._db.execute(f"DELETE {below}", (log, size))
                self._db.execute("DELETE FROM checkpoints WHERE log = ? AND size <= ?", (log, size))

        if self._attempt(leave):
            self.problem = self._lasting
        span.first = max(span.first, size)
        span.end = max(span.end, size)

    def forget(self, log: str, size: int) -> None:
        """What is kept of a log is not the log's: it begins anew at `size`."""

        def leave() -> None:
            with self._write():
                self._db.execute("DELETE FROM lines WHERE log = ?", (log,))
                self._db.execute("DELETE FROM checkpoints WHERE log = ? AND size <= ?", (log, size))

        self._attempt(leave)
        self._spans[log] = _Span(size, size)

    def next(self, log: str) -> int:
        """The sequence number of the first line that is not there."""
        return self._spans[log].end

    def first(self, log: str) -> int:
        """The sequence number of the oldest line; `next` where there is none."""
        return self._spans[log].first

    def put(self, log: str, first: int, lines: Sequence[bytes]) -> int:
        """Takes lines from number `first` on, which must be `next`. Says how many: fewer when it is full."""
        span = self._spans[log]
        if first != span.end:
            raise ValueError(f"line {first} of {log} does not go on from {span.end}")
        room = self._max_bytes - self.used_bytes
        fitting = sum(taken <= room for taken in accumulate(map(len, lines)))
        if fitting < len(lines):
            self._is_full(at_least=len(lines[fitting]))
        rows = [(log, first + at, zlib.crc32(line), line) for at, line in enumerate(lines[:fitting])]

        def take() -> None:
            with self._write():
                self._db.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?)", rows)

        if not rows or not self._attempt(take):
            return 0
        span.end += len(rows)
        span.size += sum(map(len, lines[:fitting]))
        if fitting == len(lines):
            self.problem = self._lasting
        return len(rows)

    def lines(self, log: str, first: int, most: int, most_bytes: int) -> list[bytes]:
        """At most `most` lines from number `first` on, of `most_bytes` together, but one at least."""
        found: list[bytes] = []
        room = most_bytes
        wanted = "SELECT seq, crc, line FROM lines WHERE log = ? AND seq >= ? ORDER BY seq LIMIT ?"
        with self._reading():
            for sequence, crc, line in self._db.execute(wanted, (log, first, most)):
                if sequence != first + len(found) or not isinstance(line, bytes) or zlib.crc32(line) != crc:
                    raise OutboxDamagedError(f"Line {first + len(found)} of {log} is damaged in the outbox.")
                room -= len(line)
                if found and room < 0:
                    break
                found.append(line)
        return found

    def put_checkpoint(self, log: str, size: int, note: str) -> bool:
        """In place of the one before it. False where the disk did not take it; checkpoints.jsonl has it."""

        def replace() -> None:
            with self._write():
                self._db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (log, size, note))

        return self._attempt(replace)

    def checkpoint(self, log: str) -> Waiting | None:
        with self._reading():
            row = self._db.execute("SELECT size, note FROM checkpoints WHERE log = ?", (log,)).fetchone()
        return None if row is None else Waiting(int(row[0]), str(row[1]))

    def put_health(self, payload: bytes) -> None:
        """While nobody listens. The newest few are kept, none when lines need the room."""

        def keep() -> None:
            with self._write():
                if not self._is_full():
                    self._db.execute("INSERT INTO health(payload) VALUES (?)", (payload,))
                newest = "SELECT id FROM health ORDER BY id DESC LIMIT ?"
                kept = 0 if self._is_full() else HEALTH_KEPT
                self._db.execute(f"DELETE FROM health WHERE id NOT IN ({newest})", (kept,))  # noqa: S608

        self._attempt(keep)

    def take_health(self) -> list[bytes]:
        """All that is kept, the oldest first; it is gone then."""
        taken: list[bytes] = []

        def take() -> None:
            with self._write():
                rows = self._db.execute("SELECT payload FROM health ORDER BY id").fetchall()
                if rows:
                    self._db.execute("DELETE FROM health")
                taken.extend(bytes(row[0]) for row in rows)

        return taken if self._attempt(take) else []

    @property
    def events(self) -> int:
        """Lines that are there."""
        return sum(span.end - span.first for span in self._spans.values())

    @property
    def line_bytes(self) -> int:
        """Of the lines that are there."""
        return sum(span.size for span in self._spans.values())

    @property
    def used_bytes(self) -> int:
        """Of the database that are in use; deleted lines leave room in the file."""
        with self._reading():
            pages, free = (
                int(self._db.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count")
            )
        return (pages - free) * PAGE_BYTES

    def _is_full(self, at_least: int = 1) -> bool:
        """Whether there is no room for so many bytes; `problem` then says so."""
        if self.used_bytes + at_least <= self._max_bytes:
            return False
        self.problem = f"the outbox is full ({self._max_bytes >> 20} MiB); further lines wait in the logs"
        return True

    def _attempt(self, deed: Callable[[], None]) -> bool:
        """False where the disk did not take it; `problem` then says why."""
        try:
            deed()
        except sqlite3.Error as error:
            if _is_damage(error):
                raise OutboxDamagedError(f"The outbox is damaged: {error}.") from error
            self.problem = f"the outbox cannot be written ({error}); lines wait in the logs"
            return False
        return True

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutboxDamagedError(f"The outbox cannot be read: {error}.") from error

    @contextlib.contextmanager
    def _write(self) -> Iterator[None]:
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=5.0)


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is wrong, not the disk below it."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _DAMAGED
