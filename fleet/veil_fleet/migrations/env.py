"""What Alembic runs for each call: the steps, on the connection that `veil_fleet.store.schema` hands over."""

from __future__ import annotations

from alembic import context

from veil_fleet.store.tables import Table

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Table.metadata,
    # SQLite cannot alter most of a table: there Alembic writes it anew.
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
