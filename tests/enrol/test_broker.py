"""What the broker bears: large messages, floods, being killed."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fleet_house import MISSING, Broker, Credentials, mosquitto_is_missing
from mqtt_client import Client, RefusedError
from veil.messages.base import MAX_PAYLOAD_BYTES
from veil_fleet.broker import FLEET_CONNECTIONS, SPARE_CONNECTIONS


def resident_mib(broker: Broker) -> float:
    assert broker.process is not None
    return float(psutil.Process(broker.process.pid).memory_info().rss / 2**20)


def test_the_largest_message_of_veil_passes(broker: Broker) -> None:
    with (
        Client(broker, broker.collector, client_id="large") as collector,
        Client(broker, broker.credentials("large-1")) as box,
    ):
        collector.subscribe("veil/large-1/#")
        topic = f"veil/large-1/checkpoint/{'a' * 32}"
        box.publish(topic, b"x" * MAX_PAYLOAD_BYTES)
        assert len(collector.wait_for(topic).payload) == MAX_PAYLOAD_BYTES


def test_two_megabytes_end_their_senders_connection_and_nobody_elses(broker: Broker) -> None:
    with (
        Client(broker, broker.collector, client_id="huge") as collector,
        Client(broker, broker.credentials("huge-1")) as other,
    ):
        collector.subscribe("veil/+/status")
        before = resident_mib(broker)
        for _ in range(20):
            with Client(broker, broker.credentials("huge-2")) as box:
                assert box.publish("veil/huge-2/status", b"x" * 2_000_000) == -1
                box.wait_closed()
        assert resident_mib(broker) < before + 16
        assert other.publish("veil/huge-1/status", b"unharmed") in {0, 16}
        collector.wait_for("veil/huge-1/status")
        assert [one.payload for one in collector.received if "/huge-" in one.topic] == [b"unharmed"]
        assert not collector.closed


@pytest.mark.parametrize(
    "sent",
    [
        b"\x10\xff\xff\xff\x7f" + b"x" * 4096,
        b"\x30\xff\xff\xff\xff\xff",
        b"\x00" * 4096,
        bytes(range(256)) * 16,
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_no_mqtt_behind_tls_harms_nobody(broker: Broker, sent: bytes) -> None:
    context = broker.credentials("odd-1").tls()
    with Client(broker, broker.credentials("odd-2")) as other:
        with (
            socket.create_connection(("127.0.0.1", broker.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as secured,
        ):
            secured.sendall(sent)
            secured.settimeout(5)
            with suppress(OSError):
                # Ended, or answered with a DISCONNECT: never a CONNACK.
                assert secured.recv(64)[:1] in {b"", b"\xe0"}
        assert other.publish("veil/odd-2/status") in {0, 16}


def test_connections_are_bounded_and_those_that_are_in_stay(tmp_path: Path) -> None:
    if mosquitto_is_missing():
        pytest.skip(MISSING)
    with Broker(tmp_path, settings={"boxes": 2}) as broker:
        with Client(broker, broker.credentials("box-a")) as box:
            flood = [
                socket.create_connection(("127.0.0.1", broker.port), timeout=5)
                for _ in range(2 + SPARE_CONNECTIONS + 20)
            ]
            time.sleep(0.5)
            with pytest.raises(RefusedError), Client(broker, broker.credentials("box-b")):
                pass
            assert box.publish("veil/box-a/status") in {0, 16}
            # The fleet manager's door is another one.
            with Client(broker, broker.collector) as collector:
                assert collector.publish("veil/box-a/cosign/front") in {0, 16}
            assert broker.process is not None
            open_sockets = len(psutil.Process(broker.process.pid).net_connections("tcp"))
            assert open_sockets <= 2 + SPARE_CONNECTIONS + FLEET_CONNECTIONS + 4
        for one in flood:
            one.close()
        time.sleep(0.5)
        with Client(broker, broker.credentials("box-b")) as box:
            assert box.publish("veil/box-b/status") in {0, 16}


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_what_is_retained_and_what_waits_outlives_the_broker(own_broker: Broker, way: str) -> None:
    broker = own_broker
    lines = [b"%d" % number for number in range(50)]
    command = "veil/box-a/command"

    def collector() -> Client:
        return Client(broker, broker.collector, client_id="keeps", keep_session=True)

    def box() -> Client:
        return Client(broker, broker.credentials("box-a"), keep_session=True)

    with collector() as listening:
        listening.subscribe("veil/box-a/log/front")
    with box() as one:
        one.subscribe(command)
    with box() as one, Client(broker, broker.operator) as operator:
        one.publish("veil/box-a/keys", b"keys", retain=True)
        for line in lines:
            one.publish("veil/box-a/log/front", line)
        one.mqtt.disconnect()
        one.wait_closed()
        operator.publish(command, b"do it")
    if way == "kill":
        _wait_for_autosave(broker)
        broker.kill()
    else:
        broker.stop()
    broker.start()
    with collector() as listening:
        _wait_for_count(listening, len(lines))
        assert [one.payload for one in listening.received] == lines
    with box() as one:
        assert one.wait_for(command).payload == b"do it"
    with Client(broker, broker.collector, client_id="new") as listening:
        listening.subscribe("veil/+/keys")
        assert listening.wait_for("veil/box-a/keys").retained


def test_a_broker_that_hangs_goes_on_where_it_was(own_broker: Broker) -> None:
    credentials: Credentials = own_broker.credentials("box-a")
    with Client(own_broker, own_broker.collector) as collector, Client(own_broker, credentials) as box:
        collector.subscribe("veil/box-a/#")
        own_broker.pause()
        box.mqtt.publish("veil/box-a/log/front", b"late", qos=1)
        time.sleep(0.5)
        assert not collector.received
        own_broker.resume()
        assert collector.wait_for("veil/box-a/log/front").payload == b"late"


def _wait_for_autosave(broker: Broker) -> None:
    """Until a write of the database began after now."""
    database = broker.folder / "data" / "veil.db"
    begin = time.time()
    end = time.monotonic() + 20
    while not database.exists() or database.stat().st_mtime < begin + 0.2:
        assert time.monotonic() < end, "the broker does not write its database"
        time.sleep(0.05)


def _wait_for_count(client: Client, count: int) -> None:
    end = time.monotonic() + 10
    while len(client.received) < count:
        assert time.monotonic() < end, f"{len(client.received)} of {count} came"
        time.sleep(0.02)
