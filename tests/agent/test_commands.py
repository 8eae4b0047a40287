"""Commands through broker and agent: answered where they may be, while status and evidence go on."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.house import DEVICE, SOON, AgentThread, Listener, write_config
from fleet_house import Broker, wait_for
from veil.agent import presence
from veil.agent.commands.manifest import Manifest
from veil.audit.event import timestamp
from veil.audit.note import SigningKey
from veil.errors import LinkError
from veil.messages.command import SIGNATURE_PREFIX, Arguments, Command, CommandBody, Response, SignedCommand

KEY = SigningKey.from_seed("fleet/command", b"c" * 32)


def signed(command: Command = Command.PING, by: SigningKey = KEY, **arguments: Any) -> bytes:
    body = CommandBody(
        device=DEVICE,
        command=command,
        arguments=Arguments(**arguments),
        issued=timestamp(time.time_ns()),
        expires=timestamp(time.time_ns() + 60_000_000_000),
        nonce=secrets.token_hex(16),
    ).encode()
    signature = base64.b64encode(by.sign(SIGNATURE_PREFIX + body)).decode()
    return SignedCommand(body=body.decode(), key=str(by.verifier), signature=signature).encode()


class Operator:
    """Asks, and keeps what is answered, by Correlation Data."""

    def __init__(self, client: mqtt.Client) -> None:
        self.client = client
        self.answers: dict[bytes, Response] = {}

    def ask(self, payload: bytes, answer_to: str = f"veil/{DEVICE}/response/desk") -> bytes:
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = correlation = secrets.token_bytes(8)
        properties.ResponseTopic = answer_to
        self.client.publish(f"veil/{DEVICE}/command", payload, qos=1, properties=properties)
        return correlation

    def answer(self, correlation: bytes, limit_s: float = 20) -> Response:
        wait_for(lambda: correlation in self.answers, "an answer", limit_s)
        return self.answers[correlation]


@contextmanager
def operator(broker: Broker) -> Iterator[Operator]:
    card = broker.operator
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "desk", protocol=MQTTProtocolVersion.MQTTv5)
    client.tls_set_context(card.tls())
    made, ready = Operator(client), threading.Event()

    def heard(_c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        made.answers[message.properties.CorrelationData] = Response.decode(message.payload)

    client.on_message = heard
    client.on_connect = lambda *_: client.subscribe("veil/+/response/+", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect(broker.host, broker.fleet_port)
    client.loop_start()
    try:
        assert ready.wait(10)
        yield made
    finally:
        client.disconnect()
        client.loop_stop()


def config_of(folder: Path, broker: Broker, agent: str = SOON) -> Path:
    path = write_config(folder, broker, cameras="front", agent=agent)
    keys = f'command_keys = ["{KEY.verifier}"]\nwitness_keys'
    path.write_text(path.read_text().replace("witness_keys", keys))
    return path


def test_commands_are_answered_once_and_refusals_are_evidence(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    with Listener(broker) as fleet, operator(broker) as desk, AgentThread(config_of(box, broker)):
        fleet.wait_status("online")
        ping = signed()
        first = desk.answer(desk.ask(ping))
        assert first.error == ""
        assert first.result is not None
        assert "veil" in (first.result.version or "")
        assert desk.answer(desk.ask(ping)).error.startswith("replayed")
        stranger = SigningKey.from_seed("fleet/command", b"s" * 32)
        assert desk.answer(desk.ask(signed(by=stranger))).error.startswith("untrusted")
        restart = desk.answer(desk.ask(signed(Command.RESTART_CAMERA, camera="front")))
        assert restart.result is not None
        assert restart.result.restarted == ("front",)
        elsewhere = desk.ask(signed(), "veil/other/response/desk")
        nowhere = desk.ask(signed(), f"veil/{DEVICE}/status")
        last = desk.answer(desk.ask(signed()))
        assert last.error == ""
        assert not {elsewhere, nowhere} & desk.answers.keys(), "answers go to the box's response topics alone"
    kinds = [
        json.loads(line)["kind"] for line in (box / "state/log/box/events.jsonl").read_text().splitlines()
    ]
    assert kinds.count("command_done") == 5
    assert kinds.count("command_refused") == 2


def test_a_long_command_holds_up_neither_status_nor_evidence(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "REFRESH_S", 0.3)
    go_on = threading.Event()

    def read(*_: object) -> Manifest:
        assert go_on.wait(30)
        return Manifest((), None)

    monkeypatch.setattr("veil.agent.commands.box.read_manifest", read)
    box = tmp_path / "box"
    with Listener(broker) as fleet, operator(broker) as desk, AgentThread(config_of(box, broker)):
        fleet.wait_status("online")
        now = timestamp(time.time_ns())
        long = desk.ask(signed(Command.MANIFEST, camera="front", start=now, end=now))
        asked = [desk.ask(signed()) for _ in range(3)]
        count = len(fleet.on(f"veil/{DEVICE}/status"))
        fleet.wait(f"veil/{DEVICE}/status", count + 3)
        assert not desk.answers
        go_on.set()
        for one in (long, *asked):
            desk.answer(one)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_agent_whose_commands_died_ends_and_is_started_again(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr("veil.agent.commands.desk.CommandDesk.handle", die)
    agent = AgentThread(config_of(tmp_path / "box", broker))
    with Listener(broker) as fleet, operator(broker) as desk, suppress(AssertionError), agent:
        fleet.wait_status("online")
        desk.ask(signed())
        wait_for(lambda: agent.error is not None, "its end")
    assert isinstance(agent.error, LinkError)
