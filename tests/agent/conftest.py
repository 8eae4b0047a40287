"""A fleet's authority for all tests of the agent: making one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_house import MISSING, Authority, Broker, mosquitto_is_missing


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if mosquitto_is_missing():
        pytest.skip(MISSING)
    return Authority(tmp_path_factory.mktemp("authority") / "fleet")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", authority) as running:
        yield running
