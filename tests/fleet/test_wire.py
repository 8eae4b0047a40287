"""Boxes, a real broker and the collector's process: what happens to messages when one of them is away."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy import select

from fleet.boxes import Box, segment
from fleet.processes import collector_process, fleet_settings
from fleet_house import MISSING, Broker, mosquitto_is_missing, wait_for
from mqtt_client import Client
from processes import Process
from veil.audit.note import Note
from veil.messages.evidence import CheckpointNote
from veil.messages.topics import Kind, Topic
from veil_fleet.collector.heard import Received
from veil_fleet.store.engine import open_engine
from veil_fleet.store.queries import Liveness, status_of
from veil_fleet.store.schema import migrate
from veil_fleet.store.tables import Alarm, Device, Log, LogLine
from veil_fleet.witness import Witness

pytestmark = pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as made:
        yield made


class Fleet:
    """The collector on SQLite, and what stands in its store."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self.settings = fleet_settings(broker)
        self.engine = open_engine(self.settings)
        migrate(self.engine)
        self.collector: Process = collector_process(folder, broker)

    def start(self) -> None:
        """Returns once the collector listens: boxes send again what was said before, tests do not."""
        before = self._connections()
        self.collector.start()
        wait_for(lambda: self._connections() > before, "the collector to connect", 30)

    def _connections(self) -> int:
        said = self.collector.said
        return said.read_text().count(": connected to ") if said.exists() else 0

    def log(self, device: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(select(Log.__table__).where(Log.device == device)).first()

    def stored(self, device: str) -> int:
        row = self.log(device)
        return row.stored_size if row else 0

    def cosigned(self, device: str) -> int:
        row = self.log(device)
        return row.cosigned_size if row else 0

    def lines(self, device: str) -> list[str]:
        query = select(LogLine.line).where(LogLine.device == device).order_by(LogLine.seq)
        with self.engine.connect() as connection:
            return list(connection.scalars(query))

    def liveness(self, device: str) -> Liveness | None:
        with self.engine.connect() as connection:
            row = connection.execute(select(Device.__table__).where(Device.name == device)).first()
        return status_of(row, time.time_ns() // 1_000_000) if row else None

    def alarms(self) -> list[str]:
        with self.engine.connect() as connection:
            return sorted(connection.scalars(select(Alarm.kind)))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"), broker)
    made.start()
    yield made
    made.collector.kill()
    made.engine.dispose()


def put(client: Client, *messages: Received, retain: bool = False) -> None:
    for message in messages:
        assert client.publish(message.topic, message.payload, retain=retain) in {0, 16}


def box_of(name: str, count: int) -> Box:
    box = Box(name)
    for number in range(count):
        box.log().append(segment(number))
    return box


def test_a_receipt_comes_back_on_the_boxs_own_topic(broker: Broker, fleet: Fleet) -> None:
    box = box_of("box-a", 3)
    with Client(broker, broker.credentials(box.name)) as client:
        topic = str(Topic(box.name, Kind.COSIGN, "front"))
        client.subscribe(topic)
        put(client, box.keys(), box.entries())
        wait_for(lambda: fleet.stored(box.name) == 3, "lines", 20)
        put(client, box.checkpoint())
        receipt = CheckpointNote.decode(client.wait_for(topic).payload)
    Note.parse(receipt.note).verify_cosignature(Witness.open(fleet.settings).verifier)
    assert fleet.lines(box.name) == box.log().lines


def test_keys_that_were_kept_while_the_collector_was_away_are_found(broker: Broker, fleet: Fleet) -> None:
    box = box_of("box-b", 3)
    fleet.collector.kill()
    with Client(broker, broker.credentials(box.name)) as client:
        put(client, box.keys(), retain=True)
        # So many messages in between that nothing but the broker's kept one can bring the keys.
        put(client, box.entries(), box.checkpoint())
        fleet.collector.start()
        wait_for(lambda: fleet.cosigned(box.name) == 3, "the checkpoint's cosignature", 30)


def test_a_goodbye_said_while_the_collector_was_away_is_heard(broker: Broker, fleet: Fleet) -> None:
    box = Box("box-c")
    with Client(broker, broker.credentials(box.name)) as client:
        put(client, box.status(), retain=True)
        wait_for(lambda: fleet.liveness(box.name) is Liveness.ONLINE, "the box to be online")
        fleet.collector.kill()
        put(client, box.status("offline", "stopped"), retain=True)
    fleet.collector.start()
    wait_for(lambda: fleet.liveness(box.name) is Liveness.STOPPED, "the goodbye", 30)


def test_the_will_of_a_box_whose_power_went_is_told(broker: Broker, fleet: Fleet) -> None:
    box = Box("box-d")
    lost = box.status("offline", "lost")
    with Client(broker, broker.credentials(box.name), will=(lost.topic, lost.payload)) as client:
        put(client, box.status(), retain=True)
        wait_for(lambda: fleet.liveness(box.name) is Liveness.ONLINE, "the box to be online")
        client.vanish()
        wait_for(lambda: fleet.liveness(box.name) is Liveness.LOST, "the will", 30)


def test_after_a_power_cut_of_broker_and_box_nobody_is_called_online(broker: Broker, fleet: Fleet) -> None:
    # The broker kept what the box said last, and gives it to whoever subscribes anew.
    box = Box("box-j")
    life = Properties(PacketTypes.PUBLISH)
    life.MessageExpiryInterval = 8
    status = box.status(expires_s=8)
    payload = status.payload.replace(b'"expires_s":45', b'"expires_s":8')
    assert payload != status.payload
    with Client(broker, broker.credentials(box.name)) as client:
        client.mqtt.publish(status.topic, payload, qos=1, retain=True, properties=life).wait_for_publish(5)
        wait_for(lambda: fleet.liveness(box.name) is Liveness.ONLINE, "the box to be online")
        broker.save()
        fleet.collector.kill()
        broker.kill()
    cut = time.monotonic()
    broker.start()
    fleet.start()
    while time.monotonic() < cut + 8.5:
        time.sleep(0.1)
    assert fleet.liveness(box.name) is Liveness.SILENT


def test_nothing_is_acknowledged_that_is_not_stored(broker: Broker, fleet: Fleet) -> None:
    # The database takes no writes; the collector is killed with all of it in its hands.
    box = box_of("box-e", 50)
    path = fleet.settings.folder / "fleet.db"
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with Client(broker, broker.credentials(box.name)) as client:
        put(client, box.keys(), *(box.entries(number, number + 1) for number in range(50)))
        time.sleep(1)
        fleet.collector.kill()
        lock.execute("ROLLBACK")
        lock.close()
        assert fleet.stored(box.name) == 0
        fleet.collector.start()
        wait_for(lambda: fleet.stored(box.name) == 50, "all lines, from the broker's queue", 30)
    assert fleet.lines(box.name) == box.log().lines


def test_a_database_that_is_away_is_waited_for(broker: Broker, fleet: Fleet) -> None:
    box = box_of("box-f", 30)
    lock = sqlite3.connect(fleet.settings.folder / "fleet.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    pid = fleet.collector.pid
    with Client(broker, broker.credentials(box.name)) as client:
        put(client, box.keys(), *(box.entries(number, number + 1) for number in range(30)))
        time.sleep(0.5)
        lock.execute("ROLLBACK")
        lock.close()
        wait_for(lambda: fleet.stored(box.name) == 30, "all lines", 30)
    assert fleet.collector.pid == pid
    assert fleet.collector.running


def test_the_collector_goes_away_when_it_is_told_to(fleet: Fleet) -> None:
    assert fleet.collector.stop() == 0
    fleet.start()


def test_no_alarm_was_raised_by_honest_boxes(fleet: Fleet) -> None:
    assert fleet.alarms() == []
