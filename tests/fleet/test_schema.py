"""The tables in the code and the tables that the migrations make are the same, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from veil.errors import ConfigError
from veil_fleet.settings import FleetSettings
from veil_fleet.store.engine import open_engine
from veil_fleet.store.schema import check_schema, migrate
from veil_fleet.store.tables import Table


def test_migrations_make_what_the_models_say(settings: FleetSettings) -> None:
    engine = open_engine(settings)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, Table.metadata)
    engine.dispose()
    assert differences == []


def test_a_database_without_tables_is_refused_with_the_command_that_helps(settings: FleetSettings) -> None:
    engine = open_engine(settings)
    with pytest.raises(ConfigError, match="veil-fleet migrate"):
        check_schema(engine)
    migrate(engine)
    check_schema(engine)
    engine.dispose()


def test_two_that_migrate_at_once_do_it_once(settings: FleetSettings) -> None:
    engines = [open_engine(settings) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate, engines))
    check_schema(engines[0])
    for engine in engines:
        engine.dispose()
