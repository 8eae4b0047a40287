"""Houses: an empty one for each test, one on PostgreSQL too, and one full of boxes to look at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import create_engine

from postgres import Postgres, postgres
from veil_fleet import users
from veil_fleet.settings import FleetSettings, load_settings
from web_house import WebHouse, make_house

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Argon2 with a tenth of its work: tests sign in hundreds of times."""
    quick = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "_HASHER", quick)
        nobody = quick.hash("a password that nobody has")
        patch.setattr(users, "_of_nobody", lambda: nobody)
        yield


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WebHouse]:
    """Empty, but for the three users."""
    made = make_house(tmp_path)
    made.add_users()
    yield made
    made.close()


@pytest.fixture(scope="session")
def web_cluster() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def any_house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebHouse]:
    """As `house`, on both kinds of database."""
    settings: FleetSettings = load_settings(None, folder=tmp_path)
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("web_cluster")
        name = f"web_{next(_numbers)}"
        engine = create_engine(server.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        url = server.url.replace("/veil?", f"/{name}?")
        settings = load_settings(None, folder=tmp_path, database={"url": url})
    made = WebHouse(settings)
    made.add_users()
    yield made
    made.close()


@pytest.fixture(scope="session")
def full_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHouse]:
    """Boxes, evidence and an alarm. Tests only look."""
    made = make_house(tmp_path_factory.mktemp("fleet"))
    made.add_users()
    made.box("kerb-1")
    made.box("kerb-2", site="Museum", status_state="offline", status_reason="stopped")
    made.segments("kerb-1", "front", 12)
    evidence = [{"seq": 7, "stored": '{"a":1}', "received": '{"a":2}'}]
    made.alarm("kerb-1", evidence=json.dumps(evidence))
    yield made
    made.close()


@pytest.fixture(scope="session")
def any_sql_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHouse]:
    """Two boxes, and a browser of each role that is signed in."""
    made = make_house(tmp_path_factory.mktemp("sql"))
    made.add_users()
    made.box("kerb-1")
    made.box("kerb-2", site="100 %_\\")
    made.segments("kerb-1", "front", 3)
    made.clients = {role: made.signed_in(role) for role in ("viewer", "operator", "auditor")}
    yield made
    made.close()
