"""The database's schema: brought up to date, and checked."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from veil.errors import ConfigError
from veil_fleet.store.engine import writing

_LOCK = 0x7665696C
"""Of PostgreSQL's advisory locks: one process migrates at a time."""


def migration_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", "veil_fleet:migrations")
    config.attributes["connection"] = connection
    return config


def migrate(engine: Engine) -> None:
    """Brings the schema up to date, in one transaction; several processes may try at once."""
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        command.upgrade(migration_config(connection), "head")


def check_schema(engine: Engine) -> None:
    """Raises ConfigError where the schema is not the one that this version reads and writes."""
    head = ScriptDirectory.from_config(migration_config()).get_current_head()
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != head:
        raise ConfigError(
            f"The database's schema is {found or 'empty'}; this version needs {head}.",
            hint="Run `veil-fleet migrate`, with all collectors stopped.",
        )
