"""The database's connections, for SQLite and PostgreSQL alike."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from veil.errors import ConfigError
from veil_fleet.settings import FleetSettings

_WRITES = "veil_writes"


def open_engine(settings: FleetSettings, *, application: str = "veil-fleet") -> Engine:
    """Connects at first use. Raises ConfigError where SQLite's folder cannot be made."""
    url = make_url(settings.database_url)
    patience_s = settings.database.patience_s
    if url.get_backend_name() == "postgresql":
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=5,
            connect_args={
                "application_name": application,
                "connect_timeout": 10,
                "keepalives_idle": 15,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 30_000,
                # A lock that is never given back must not stop a collector without a word.
                "options": f"-c lock_timeout={int(patience_s * 1000)}",
            },
        )
    if url.database and url.database != ":memory:":
        folder = Path(url.database).parent
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"The database's folder {folder} cannot be made: {error.strerror}.") from None
    engine = create_engine(url, connect_args={"timeout": patience_s, "isolation_level": None})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that will write: under SQLite it takes the write lock at once, not halfway."""
    with engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        yield connection


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    del record
    # FULL: what was cosigned must still be there after a power cut.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options: Any = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")
