from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_house import MISSING, Broker, mosquitto_is_missing


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """For tests that leave it as it is: each uses boxes of its own."""
    if mosquitto_is_missing():
        pytest.skip(MISSING)
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """For tests that kill, reload or fill it."""
    if mosquitto_is_missing():
        pytest.skip(MISSING)
    with Broker(tmp_path / "broker") as running:
        yield running
