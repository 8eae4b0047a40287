"""Enrolled boxes in the database: what the page shows of them, and what the witness holds them to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from veil.audit.checkpoint import key_name_of
from veil.audit.note import ED25519, VerifierKey
from veil.errors import ConfigError, UsageError
from veil_fleet.pki import Leaf
from veil_fleet.settings import FleetSettings
from veil_fleet.store.engine import open_engine, writing
from veil_fleet.store.schema import check_schema, migrate
from veil_fleet.store.tables import Device


@contextmanager
def changing(settings: FleetSettings) -> Iterator[Connection]:
    """One transaction over the fleet's database, which is made where there is none. Raises ConfigError."""
    engine = open_engine(settings, application="veil-fleet enroll")
    try:
        try:
            with engine.connect() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
            if found is None:
                migrate(engine)
                _give_to_service(engine)
            check_schema(engine)
            with writing(engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            # The driver's text may hold the URL, and so a password.
            raise ConfigError(
                f"The fleet's database cannot be used: {type(error).__name__}.", hint="See [database]."
            ) from error
    finally:
        engine.dispose()


def _give_to_service(engine: Engine) -> None:
    """SQLite's files that root has just made belong to whom the folder belongs: a service writes them."""
    database = engine.url.database
    if os.geteuid() != 0 or engine.dialect.name != "sqlite" or not database:
        return
    owner = Path(database).parent.stat()
    for path in (database, f"{database}-wal", f"{database}-shm"):
        if Path(path).exists():
            os.chown(path, owner.st_uid, owner.st_gid)


def read_log_key(text: str, device: str) -> VerifierKey:
    """The key that a box's evidence is held to from its first line on. Raises UsageError, KeyFormatError."""
    key = VerifierKey.parse(text)
    if key.name != key_name_of(device) or key.algorithm != ED25519:
        raise UsageError(
            f"The key is {key.name}'s, not the one of {device}'s logs.",
            hint="It is `new` in the first line of the box's log/keys.jsonl.",
        )
    return key


def check_log_key(connection: Connection, device: str, log_key: VerifierKey) -> None:
    """Raises UsageError where the box is held to another key already."""
    query = select(Device.pinned_key).where(Device.name == device)
    if connection.execute(query).scalar_one_or_none() not in {None, str(log_key)}:
        raise UsageError(
            f"{device!r} is held to another log key already.",
            hint="A new box, or one that was set up anew, gets a new name.",
        )


def enrolled(
    connection: Connection, device: str, leaf: Leaf, *, site: str | None, log_key: VerifierKey | None
) -> None:
    """The box has this certificate now."""
    known = connection.execute(select(Device.name).where(Device.name == device)).one_or_none()
    values: dict[str, object] = {
        "enrolled_ms": time.time_ns() // 1_000_000,
        "revoked_ms": None,
        "certificate": leaf.fingerprint,
    }
    if site is not None:
        values["site"] = site
    if log_key is not None:
        values["pinned_key"] = str(log_key)
    if known is None:
        connection.execute(insert(Device).values(name=device, **values))
    else:
        connection.execute(update(Device).where(Device.name == device).values(**values))


def revoked(connection: Connection, device: str) -> None:
    """No certificate of the box holds any more."""
    now_ms = time.time_ns() // 1_000_000
    connection.execute(update(Device).where(Device.name == device).values(revoked_ms=now_ms))
