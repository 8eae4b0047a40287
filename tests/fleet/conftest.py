"""One PostgreSQL for the whole folder, an empty database for each test, and SQLite beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Postgres, postgres
from sqlalchemy import create_engine

from veil_fleet.settings import FleetSettings, load_settings

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
