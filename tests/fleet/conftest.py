"""One PostgreSQL for the whole folder, an empty database for each test, and SQLite beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from fleet.store_house import StoreHouse
from postgres import Postgres, postgres
from veil_fleet.settings import FleetSettings, load_settings
from veil_fleet.store.engine import open_engine, writing
from veil_fleet.store.schema import migrate
from veil_fleet.store.tables import Table

_numbers = itertools.count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> FleetSettings:
    """Of a fleet manager with an empty database; the test runs once with each kind."""
    if request.param == "sqlite":
        return load_settings(None, folder=tmp_path)
    server: Postgres = request.getfixturevalue("cluster")
    name = f"veil_{next(_numbers)}"
    engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return load_settings(None, folder=tmp_path, database={"url": server.url.replace("/veil?", f"/{name}?")})


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With the tables; shared, so whoever uses it empties them first."""
    given = {"url": request.getfixturevalue("cluster").url} if request.param == "postgresql" else {}
    made = open_engine(load_settings(None, folder=tmp_path_factory.mktemp("store"), database=given))
    migrate(made)
    yield made
    made.dispose()


@pytest.fixture
def house(engine: Engine) -> StoreHouse:
    """A fleet manager's store without a broker; the test runs once with each kind of database."""
    with writing(engine) as connection:
        for table in reversed(Table.metadata.sorted_tables):
            connection.execute(table.delete())
    return StoreHouse(engine)
