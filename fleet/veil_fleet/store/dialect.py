"""What SQLite and PostgreSQL both have and SQLAlchemy keeps per dialect: INSERT … ON CONFLICT."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from veil_fleet.store.tables import Table


def insert_into(connection: Connection, table: type[Table]) -> postgresql.Insert:
    """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    if connection.dialect.name == "sqlite":
        # The two classes have the same methods with the same parameters, and no common base.
        return sqlite.insert(table)  # type: ignore[return-value]
    return postgresql.insert(table)
