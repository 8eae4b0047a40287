"""The link as broker and fleet see it: who is there, who is not, how much may be on its way."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.house import DEVICE, AgentProcess, AgentThread, Listener, fill, log_of, write_config
from fleet_house import Authority, Broker, wait_for
from veil.agent import presence
from veil.agent.backoff import MAX_S, MIN_S, Backoff
from veil.agent.link import Link, LinkSettings
from veil.agent.packets import Outgoing
from veil.agent.presence import Presence, newest_keys
from veil.agent.refusal import refused
from veil.config_load import load_config
from veil.errors import LinkError
from veil.messages.evidence import CheckpointNote
from veil.messages.health import EXPIRES_S, Health, Status

STATUS, HEALTH = f"veil/{DEVICE}/status", f"veil/{DEVICE}/health"


def settings(broker: Broker, device: str = DEVICE, **changes: object) -> LinkSettings:
    card = broker.credentials(device)
    values: dict[str, object] = {
        "host": broker.host,
        "port": broker.port,
        "client_id": device,
        "keepalive_s": 15,
        "tls": card.tls,
        "will": Outgoing(f"veil/{device}/status", b"{}", retain=True),
        "subscriptions": (f"veil/{device}/cosign/+",),
    }
    return LinkSettings(**(values | changes))  # type: ignore[arg-type]


class Soon(Backoff):
    """Does not wait for a minute in a test."""

    def next_s(self) -> float:
        return super().next_s() / 20


@contextmanager
def linked(settings: LinkSettings) -> Iterator[tuple[Link, list[LinkError]]]:
    told: list[LinkError] = []
    with Link(settings, lambda: None, told.append, Soon()) as link:
        yield link, told


def test_everything_is_said_at_birth_and_again_after_each_reconnect(broker: Broker, tmp_path: Path) -> None:
    config = write_config(tmp_path / "box", broker, cameras="front", agent="home_assistant = false")
    topics = [STATUS, HEALTH, f"veil/{DEVICE}/keys", f"veil/{DEVICE}/camera/front/state"]
    with AgentThread(config):
        with Listener(broker) as first:
            for topic in topics:
                first.wait(topic)
        broker.kill()
        time.sleep(0.5)
        broker.start()
        with Listener(broker, name="second") as second:
            for topic in topics:
                wait_for(lambda topic=topic: any(not h.retained for h in second.on(topic)), topic, 30)  # type: ignore[misc]


def test_status_is_retained_expires_and_is_refreshed_by_the_main_loop(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "REFRESH_S", 0.5)
    with Listener(broker) as fleet, AgentThread(write_config(tmp_path / "box", broker)):
        fleet.wait(STATUS, 3)
        heard = fleet.on(STATUS)
        assert all(h.expiry_s is not None and EXPIRES_S - 2 <= h.expiry_s <= EXPIRES_S for h in heard)
        status = Status.decode(heard[-1].payload)
        assert (status.state, status.reason, status.expires_s) == ("online", None, EXPIRES_S)
        with Listener(broker, name="late") as late:
            assert late.wait(STATUS).retained


def test_a_clean_stop_is_told_for_good_and_nothing_secret_is_said(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    with Listener(broker) as fleet, AgentProcess(write_config(box, broker)) as agent:
        fleet.wait_status("online")
        assert agent.stop() == 0
        told = fleet.wait_status("offline", "stopped")
        assert told.expiry_s is None
        with Listener(broker, name="late") as late:
            assert late.wait(STATUS).payload == told.payload
            time.sleep(0.5)
            assert len(late.on(STATUS)) == 1, "no will after a clean stop"
        heard = b"".join(message.payload for message in fleet.heard)
    secrets = [broker.credentials(DEVICE).key.read_bytes().splitlines()[1]]
    secrets += [word for path in (box / "state/keys").glob("signing*") for word in path.read_bytes().split()]
    logs = b"".join(path.read_bytes() for path in (box / "state/log").rglob("*") if path.is_file())
    assert len(secrets) > 1
    for secret in secrets:
        for place in (heard, logs, agent.said.read_bytes()):
            assert secret not in place


def test_a_killed_agent_is_lost_and_its_successor_another_session(broker: Broker, tmp_path: Path) -> None:
    config = write_config(tmp_path / "box", broker)
    with Listener(broker) as fleet:
        with AgentProcess(config) as agent:
            before = Status.decode(fleet.wait_status("online").payload)
            agent.kill()
            told = fleet.wait_status("offline", "lost")
            assert told.expiry_s is None
        with AgentThread(config):
            after = Status.decode(fleet.wait_status("online").payload)
        assert after.session != before.session


@pytest.mark.slow
@pytest.mark.skipif(
    "VEIL_KILLS" not in os.environ, reason="takes a minute: set VEIL_KILLS, as make faults does"
)
def test_an_agent_that_hangs_is_not_online_within_a_minute(broker: Broker, tmp_path: Path) -> None:
    with Listener(broker) as fleet, AgentProcess(write_config(tmp_path / "box", broker)) as agent:
        fleet.wait_status("online")
        agent.send(signal.SIGSTOP)
        fleet.wait_status("offline", "lost", 59)
        agent.send(signal.SIGCONT)
        fleet.wait_status("online", None, 90)


def test_a_main_loop_that_hangs_stops_the_refreshing(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "REFRESH_S", 0.3)
    hangs, go_on = threading.Event(), threading.Event()

    def hang(self: object, now_s: float) -> list[object]:
        del self, now_s
        if hangs.is_set():
            assert go_on.wait(30)
        return []

    monkeypatch.setattr("veil.agent.health.HealthWatch.look", hang)
    with Listener(broker) as fleet, AgentThread(write_config(tmp_path / "box", broker)):
        fleet.wait(STATUS, 3)
        hangs.set()
        time.sleep(0.5)
        count = len(fleet.on(STATUS))
        time.sleep(1.2)
        assert len(fleet.on(STATUS)) == count
        go_on.set()
        hangs.clear()
        fleet.wait(STATUS, count + 1)


def narrow(broker: Broker, receive_maximum: int) -> None:
    """The broker takes so many messages with QoS 1 at a time."""
    path = broker.ca.folder / "broker" / "mosquitto.conf"
    text = re.sub(r"max_inflight_messages \d+", f"max_inflight_messages {receive_maximum}", path.read_text())
    path.write_text(text)
    broker.restart()


def test_a_receive_maximum_of_one_is_kept_and_everything_arrives(broker: Broker, tmp_path: Path) -> None:
    narrow(broker, 1)
    box = tmp_path / "box"
    with Listener(broker, witness=True) as fleet, log_of(box / "state", "front") as log:
        fill(log, 150, size=3000)
        with AgentThread(write_config(box, broker, cameras="front")):
            fleet.wait_cosigned("front", 150)
            fleet.wait(STATUS)
        assert fleet.conflicts == []
    # "<unknown>": who only asked whether the broker listens yet
    said = "".join(line for line in broker.log.read_text().lower().splitlines() if "<unknown>" not in line)
    assert "box-1" in said
    assert "receive-maximum" not in said
    assert "protocol error" not in said


def test_no_more_is_on_its_way_than_the_window(broker: Broker) -> None:
    narrow(broker, 3)
    with linked(settings(broker)) as (link, _):
        wait_for(lambda: link.connected, "the connection")
        broker.pause()
        sent = [link.publish(Outgoing(STATUS, b"{}")) for _ in range(10)]
        assert sent == [True] * 3 + [False] * 7
        assert (link.in_flight, link.room) == (3, 0)
        broker.resume()
        wait_for(lambda: link.room == 3, "acknowledgements")
        assert link.publish(Outgoing(STATUS, b"{}"))
        assert link.drain(5)


def test_a_broker_that_takes_less_is_told_once_and_gets_nothing_larger(
    tmp_path: Path, authority: Authority
) -> None:
    with Broker(tmp_path / "broker", authority) as broker:
        path = broker.ca.folder / "broker" / "mosquitto.conf"
        path.write_text(re.sub(r"max_packet_size \d+", "max_packet_size 8192", path.read_text()))
        broker.restart()
        with linked(settings(broker)) as (link, told):
            wait_for(lambda: link.connected, "the connection")
            assert link.max_payload < 8192
            assert not link.publish(Outgoing(STATUS, b"x" * 8192))
            assert link.publish(Outgoing(STATUS, b"x" * link.max_payload))
            assert link.drain(5)
            assert [error.hint for error in told] == ["Raise its max_packet_size to 64 KiB."]


def test_what_came_during_a_short_absence_is_there_afterwards(broker: Broker) -> None:
    with Listener(broker) as fleet:
        with linked(settings(broker)) as (link, _):
            wait_for(lambda: link.connected, "the connection")
            time.sleep(0.3)
        fleet.client.publish(f"veil/{DEVICE}/cosign/front", CheckpointNote(log="front", note="x").encode(), 1)
        time.sleep(0.3)
        with linked(settings(broker)) as (link, _):
            wait_for(lambda: bool(link._inbox), "the message")
            message = link.take()
            assert message is not None
            assert message.topic == f"veil/{DEVICE}/cosign/front"


def reasons(settings: LinkSettings, count: int = 1) -> list[LinkError]:
    with linked(settings) as (_, told):
        wait_for(lambda: len(told) >= count, "a reason", 20)
        time.sleep(0.5)
        return told


def test_a_refusal_is_one_line_that_says_what_to_do(
    broker: Broker, tmp_path: Path, authority: Authority
) -> None:
    stranger = Authority(tmp_path / "strangers").credentials(DEVICE)
    context = stranger.tls()
    context.load_verify_locations(broker.credentials(DEVICE).ca)
    (refusal,) = reasons(settings(broker, tls=lambda: context))
    assert "enrol" in refusal.hint.lower()
    (untrusted,) = reasons(settings(broker, tls=stranger.tls))
    assert "certificate of the broker" in untrusted.message
    (nobody,) = reasons(settings(broker, port=9))
    assert "cannot be reached" in nobody.message
    (unknown,) = reasons(settings(broker, host="no-such-host.invalid"))
    assert "fleet.host" in unknown.hint
    for error in (refusal, untrusted, nobody, unknown):
        assert len(str(error).splitlines()) == 1
        assert "PRIVATE" not in str(error)


def test_a_revoked_certificate_is_told(tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker:
        card = broker.credentials("gone")
        broker.ca.enrolment.revoke("gone")
        broker.restart()
        (error,) = reasons(settings(broker, "gone", tls=card.tls))
        assert "enrol" in error.hint.lower()


def test_without_tls_on_this_machine(tmp_path: Path, authority: Authority) -> None:
    with Broker(tmp_path / "broker", authority, plain=True) as broker:
        box = tmp_path / "box"
        path = write_config(box, None)
        fleet = f'[fleet]\nhost = "127.0.0.1"\nport = {broker.plain_port}\ntls = "off"\n'
        path.write_text(fleet + path.read_text())
        with Listener(broker) as heard, AgentThread(path):
            heard.wait_status("online")


def test_what_the_broker_never_takes_holds_up_nothing() -> None:
    said = Presence(load_config(None, {}), "2026-11-21T12:00:00.000000Z", None)
    said.birth(["x" * 4000], [], 0.0)
    sent: list[Outgoing] = []

    def publish(message: Outgoing) -> bool:
        sent.append(message)
        return len(message.payload) < 2000

    said.flush(publish, 2000)
    assert [message.topic.rpartition("/")[2] for message in sent] == ["status"]
    assert not said.is_waiting


def test_home_assistant_is_told_at_birth(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, None, cameras="front", agent="home_assistant = true"), {})
    said = Presence(config, "2026-11-21T12:00:00.000000Z", None)
    said.birth(["{}"], [], 0.0)
    sent: list[Outgoing] = []
    said.flush(lambda message: sent.append(message) is None, 60_000)
    told = [message for message in sent if message.topic.startswith("homeassistant/")]
    assert told
    assert all(message.retain for message in told)


def test_what_stood_in_the_way_is_gone_and_the_next_try_comes_at_once(broker: Broker) -> None:
    class Patient(Backoff):
        def next_s(self) -> float:
            return 600.0

    waiting = [LinkError("It is 1970.")]

    def tls() -> ssl.SSLContext:
        if waiting:
            raise waiting.pop()
        return broker.credentials(DEVICE).tls()

    told: list[LinkError] = []
    with Link(settings(broker, tls=tls), lambda: None, told.append, Patient()) as link:
        wait_for(lambda: bool(told), "the first failure", 20)
        assert not link.connected
        link.try_again()
        wait_for(lambda: link.connected, "a connection", 20)


def test_every_code_of_a_refusal_has_its_hint() -> None:
    for code in range(0x80, 0xA3):
        assert refused(code, "b:1").hint


def test_two_with_one_name_are_told(broker: Broker) -> None:
    with linked(settings(broker)) as (first, told_first), linked(settings(broker)) as (second, told_second):
        wait_for(
            lambda: any("another program" in str(e) for e in (*told_first, *told_second)), "the reason", 20
        )
        assert first.alive
        assert second.alive


def test_a_server_that_talks_nonsense_is_survived(broker: Broker) -> None:
    """Bytes of every kind in place of MQTT; the thread lives, and the real broker is found afterwards."""
    chance = random.Random(3)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(10)

        def talk() -> None:
            for _ in range(40):
                try:
                    with server.accept()[0] as peer:
                        peer.settimeout(5)
                        peer.recv(1000)
                        # A CONNACK that is good, and then anything.
                        good = bytes.fromhex("20030000 00".replace(" ", ""))
                        peer.sendall(chance.choice((b"", good)) + chance.randbytes(chance.randrange(1, 200)))
                except OSError:
                    continue

        talker = threading.Thread(target=talk, daemon=True)
        talker.start()
        place = settings(broker, host="127.0.0.1", port=server.getsockname()[1], tls=lambda: None)
        told: list[LinkError] = []
        quick = type("Quick", (Backoff,), {"next_s": lambda _: 0.01})()
        with Link(place, lambda: None, told.append, quick) as link:
            talker.join(60)
            assert link.alive
        assert told


def test_waits_between_connections_grow_to_a_minute_and_differ() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.next_s() for _ in range(200)]
    assert all(MIN_S <= wait <= MAX_S for wait in waits)
    assert waits[0] <= 2
    assert max(waits[20:]) > 50
    assert len({round(wait, 6) for wait in waits}) > 190
    backoff.reset()
    assert backoff.next_s() <= 2


def test_health_of_an_absence_is_told_afterwards_and_the_newest_is_retained(
    broker: Broker, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "box", broker, agent="health_every_s = 5")
    broker.stop()
    with AgentThread(config):
        time.sleep(0.5)
        broker.start()
        with Listener(broker) as fleet:
            fleet.wait(HEALTH, 2, 30)
            with Listener(broker, name="late") as late:
                assert late.wait(HEALTH).retained
        for heard in fleet.on(HEALTH):
            Health.decode(heard.payload)


def test_keys_of_any_number_fit_into_a_message() -> None:
    records = [json.dumps({"new": f"key {number} " + "x" * 900}) for number in range(600)]
    message = newest_keys(records)
    assert len(message.encode()) < 64 * 1024
    assert message.records[-1] == records[-1]
    assert list(message.records) == records[-len(message.records) :]
