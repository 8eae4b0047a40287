"""Which commands were taken already: durable before one is carried out, and bounded.

A command is remembered until it could not be taken any more. What decides that is not the box's clock, which
may be set back, but the newest command taken: the fleet has signed that it was issued then, so whatever
expired before is refused for good (`floor`).
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from veil.agent.commands.verify import Order, Reason
from veil.domain.clock import NANOSECONDS
from veil.errors import CommandError
from veil.messages.command import MAX_CLOCK_SKEW_S, MAX_LIFETIME_S

MAX_NONCES = 256
FILE = "commands.sqlite"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS taken (
    nonce TEXT PRIMARY KEY, expires_ns INTEGER NOT NULL, command TEXT NOT NULL, key TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY CHECK (id = 0), ns INTEGER NOT NULL);
INSERT OR IGNORE INTO floor VALUES (0, {floor});
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that was taken. `key`: id, 8 hex digits."""

    nonce: str
    command: str
    key: str


class NonceStore:
    """One SQLite file. A context manager. Used by one thread at a time.

    A damaged file is set aside (`.damaged`); then no command is taken that was issued before. Raises
    CommandError where the folder cannot be used.

    Args:
        wall_ns: the box's clock, for that case only.
    """

    def __init__(self, folder: Path, wall_ns: int) -> None:
        path = folder / FILE
        self.was_damaged = False
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            try:
                self._database = _open(path, 0)
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                    raise
                path.replace(path.with_name(f"{FILE}.damaged"))
                path.with_name(f"{FILE}-journal").unlink(missing_ok=True)
                self.was_damaged = True
                floor = wall_ns + (MAX_LIFETIME_S + MAX_CLOCK_SKEW_S) * NANOSECONDS
                self._database = _open(path, floor)
        except (OSError, sqlite3.Error) as error:
            raise CommandError(
                f"{path} cannot be used: {type(error).__name__}: {error}.",
                hint="Without it no command is safe from being carried out twice; check the folder.",
            ) from error

    def take(self, order: Order) -> Reason | None:
        """None when the command is this caller's to carry out, now and never again; else why not."""
        try:
            with _transaction(self._database) as database:
                return _take(database, order)
        except sqlite3.Error:
            return Reason.UNAVAILABLE

    def finish(self, nonce: str) -> None:
        """The command's end is in the log. Where this cannot be kept, it counts as interrupted."""
        with suppress(sqlite3.Error):
            self._database.execute("UPDATE taken SET done = 1 WHERE nonce = ?", (nonce,))

    def unfinished(self) -> tuple[Taken, ...]:
        """Taken, and the process ended before it could say how that went."""
        try:
            rows = self._database.execute(
                "SELECT nonce, command, key FROM taken WHERE NOT done ORDER BY expires_ns, nonce"
            ).fetchall()
        except sqlite3.Error as error:
            raise CommandError(f"{FILE} cannot be read: {error}.") from error
        return tuple(Taken(*row) for row in rows)

    def __len__(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM taken").fetchone()
        return int(count)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> NonceStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _transaction:  # noqa: N801  reads as a statement
    """All of it durable at the end, or nothing."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._database.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            self._database.execute("ROLLBACK")


def _take(database: sqlite3.Connection, order: Order) -> Reason | None:
    nonce = order.body.nonce
    if database.execute("SELECT 1 FROM taken WHERE nonce = ?", (nonce,)).fetchone():
        return Reason.REPLAYED
    (floor,) = database.execute("SELECT ns FROM floor").fetchone()
    if order.expires_ns <= floor:
        return Reason.EXPIRED
    floor = max(floor, order.issued_ns - MAX_CLOCK_SKEW_S * NANOSECONDS)
    database.execute("UPDATE floor SET ns = ?", (floor,))
    database.execute("DELETE FROM taken WHERE expires_ns <= ? AND done", (floor,))
    (count,) = database.execute("SELECT count(*) FROM taken").fetchone()
    if count >= MAX_NONCES:
        return Reason.BUSY
    database.execute(
        "INSERT INTO taken (nonce, expires_ns, command, key) VALUES (?, ?, ?, ?)",
        (nonce, order.expires_ns, str(order.body.command), order.key.id.hex()),
    )
    return None


def _open(path: Path, floor: int) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = DELETE")
        # EXTRA: the journal's removal is durable too, so a taken command stays taken through a power cut.
        database.execute("PRAGMA synchronous = EXTRA")
        database.executescript(_SCHEMA.format(floor=floor))
        row = database.execute("PRAGMA quick_check").fetchone()
        if row != ("ok",):
            error = sqlite3.DatabaseError("quick_check")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
    except sqlite3.Error:
        database.close()
        raise
    return database
