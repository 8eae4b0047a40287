"""No payload ends the collector or fills its memory: as pure functions, at both databases, over the wire.

VEIL_HOSTILE: payloads in all, 2,000 if unset.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from fleet.boxes import Box, segment
from fleet.hostile import HONEST, NAMED, messages
from fleet.processes import collector_process, fleet_settings
from fleet.store_house import StoreHouse
from fleet_house import MISSING, Broker, mosquitto_is_missing, wait_for
from hostile_pool import Pool, drawn
from mqtt_client import Client
from veil.messages.topics import Kind
from veil_fleet.collector.heard import Heard, Received, Refused, hear
from veil_fleet.store.engine import open_engine
from veil_fleet.store.schema import migrate
from veil_fleet.store.tables import Log

pytestmark = pytest.mark.timeout(0)
HOSTILE = int(os.environ.get("VEIL_HOSTILE", "2000"))
PURE, STORED, SENT = HOSTILE * 3 // 4, HOSTILE // 8, HOSTILE // 8
BATCH = 25
BOUND_MIB = 400
LARGEST = 60 << 10  # what a broker takes


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def received(kind: Kind, payload: bytes, number: int = 1) -> Received:
    box = Box.__new__(Box)
    box.name, box.now_ms = "box-h", 1_790_000_000_000 + number
    return box.received(kind, "front" if kind in NAMED else "", payload)


def test_any_payload_is_heard_or_refused() -> None:
    pools = honest_pools()

    @examples(drawn(PURE))
    @given(messages)
    def give(message: tuple[Kind, bytes]) -> None:
        pools[message[0]].add(message[1])
        assert isinstance(hear(received(*message)), Heard | Refused)

    give()
    heard = 0
    for changes in zip(*(pool.more(PURE) for pool in pools.values()), strict=True):
        for kind, payload in zip(pools, changes, strict=True):
            answer = hear(received(kind, payload))
            assert isinstance(answer, Heard | Refused)
            heard += isinstance(answer, Heard)
    print(f"{PURE} payloads on each of {len(pools)} topics, {heard} heard")


def honest_pools() -> dict[Kind, Pool]:
    return {kind: Pool([json.dumps(one).encode() for one in HONEST[kind]]) for kind in HONEST}


@examples(100)
@given(st.text())
def test_any_topic_is_somebodys_or_nobodys(topic: str) -> None:
    assert hear(Received(topic, b"{}", False, None, 0)) is None
    hear(Received(f"veil/{topic}", b"{}", False, None, 0))


def test_any_payload_is_stored_or_told_of(house: StoreHouse) -> None:
    pools = honest_pools()

    def take(batch: Sequence[tuple[Kind, bytes]]) -> None:
        house.take(*(received(*message, number) for number, message in enumerate(batch)))
        house.ask(1_790_000_900_000)
        house.overdue(1_790_000_900_000)

    @examples(max(1, drawn(STORED) // BATCH // 2))
    @given(st.lists(messages, min_size=BATCH, max_size=BATCH))
    def give(batch: list[tuple[Kind, bytes]]) -> None:
        for kind, payload in batch:
            pools[kind].add(payload)
        take(batch)

    give()
    of_each = STORED // len(pools)
    batch: list[tuple[Kind, bytes]] = []
    for changes in zip(*(pool.more(of_each) for pool in pools.values()), strict=True):
        batch += zip(pools, changes, strict=True)
        if len(batch) >= BATCH:
            take(batch)
            batch = []


@pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING)
def test_the_collector_outlives_whatever_a_box_sends(tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker, collector_process(tmp_path, broker) as collector:
        engine = open_engine(fleet_settings(broker))
        migrate(engine)
        credentials = broker.credentials("box-h")

        pools = honest_pools()

        @examples(drawn(SENT))
        @given(messages)
        def send(message: tuple[Kind, bytes]) -> None:
            pools[message[0]].add(message[1])
            one = received(*message)
            client.publish(one.topic, one.payload)

        wait_for(lambda: "connected to" in collector.said.read_text(), "the collector", 30)
        with Client(broker, credentials) as client:
            send()
            for kind, pool in pools.items():
                for payload in pool.more(drawn(SENT) + (SENT - drawn(SENT)) // len(pools)):
                    one = received(kind, payload)
                    client.publish(one.topic, one.payload[:LARGEST])
        memory = psutil.Process(collector.pid).memory_info().rss >> 20
        for kind in (Kind.STATUS, Kind.LOG, Kind.HEALTH):
            with Client(broker, credentials) as client:
                # The broker ends the connection before the payload is anybody's.
                client.mqtt.publish(received(kind, b"").topic, b"[" * (2 << 20), qos=1)
                client.wait_closed()

        honest = Box("box-i")
        for number in range(3):
            honest.log().append(segment(number))
        with Client(broker, broker.credentials(honest.name)) as client:
            for message in (honest.keys(), honest.entries(), honest.checkpoint()):
                client.publish(message.topic, message.payload)
            wait_for(lambda: cosigned(engine, honest.name) == 3, "an honest box's receipt", 60)
        engine.dispose()
        assert collector.running
        assert "Traceback" not in collector.said.read_text()
        assert memory < BOUND_MIB


def cosigned(engine: Engine, device: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(Log.cosigned_size).where(Log.device == device)) or 0
