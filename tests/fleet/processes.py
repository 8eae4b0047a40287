"""The fleet manager's collector, as a process of its own."""

from __future__ import annotations

from pathlib import Path

from fleet_house import Broker
from processes import Process
from veil_fleet.settings import FleetSettings, load_settings


def fleet_settings(broker: Broker, url: str = "", client: str = "collector-1") -> FleetSettings:
    """Of a fleet manager with the authority's folder. Without `url`: SQLite there."""
    return load_settings(
        None,
        folder=broker.ca.folder,
        database={"url": url},
        broker={"host": broker.host, "port": broker.fleet_port, "client": client},
    )


def collector_process(folder: Path, broker: Broker, url: str = "", client: str = "collector-1") -> Process:
    """`veil-fleet collect`, with its log in `folder`."""
    environment = {
        "VEIL_FLEET_FOLDER": str(broker.ca.folder),
        "VEIL_FLEET_BROKER__HOST": broker.host,
        "VEIL_FLEET_BROKER__PORT": str(broker.fleet_port),
        "VEIL_FLEET_BROKER__CLIENT": client,
        "VEIL_FLEET_DATABASE__URL": url,
    }
    said = folder / f"{client}.log"
    return Process(said, "veil_fleet.cli", "collect", environment=environment)
