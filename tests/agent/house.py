"""Boxes for the agent's tests: a folder with logs, a real broker, and whoever listens there."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet_house import Broker, wait_for
from processes import Process
from veil.agent.service import run_agent
from veil.audit.event import Event, Kind
from veil.audit.log import EventLog
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, cosign_note
from veil.config_load import load_config
from veil.domain.clock import Clock, SystemClock
from veil.messages.evidence import CheckpointNote, LogEntries, Resend
from veil.messages.topics import Kind as TopicKind
from veil.messages.topics import Topic

DEVICE = "box-1"
SOON = "checkpoint_every_s = 1"
WITNESS = SigningKey.from_seed("fleet/witness", b"w" * 32, COSIGNATURE_V1)


def log_of(state: Path, name: str) -> EventLog:
    """A camera's log, open as its process has it."""
    return EventLog(state / "log" / name / "events.jsonl", name, SystemClock(), reserve_bytes=0)


def fill(log: EventLog, count: int, kind: Kind = Kind.FAULT, size: int = 10) -> None:
    for number in range(count):
        log.append(Event(kind, {"text": f"{number} " + "x" * size}))


def write_config(
    folder: Path, broker: Broker | None, *, device: str = DEVICE, cameras: str = "", agent: str = SOON
) -> Path:
    """veil.toml for a box at `folder`; its state lies in `folder`/state."""
    fleet = ""
    if broker is not None:
        card = broker.credentials(device)
        fleet = (
            f'[fleet]\nhost = "{broker.host}"\nport = {broker.port}\nca = "{card.ca}"\n'
            f'certificate = "{card.certificate}"\nkey = "{card.key}"\nwitness_keys = ["{WITNESS.verifier}"]\n'
        )
    text = (
        f'[box]\nname = "{device}"\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
        f"[rtsp]\nenabled = false\n{fleet}[agent]\n{agent}\n"
    )
    text += "".join(f'[camera.{name}]\nsource = "rtsp://127.0.0.1:1/{name}"\n' for name in cameras.split())
    path = folder / "veil.toml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class AgentProcess(Process):
    """`veil agent` as its own process."""

    def __init__(self, config: Path, environment: dict[str, str] | None = None) -> None:
        said = config.parent / "agent.log"
        super().__init__(said, "veil.cli", "agent", "--config", str(config), environment=environment)


class AgentThread:
    """The agent in this process, quickly there. Leaving it stops it as SIGTERM would."""

    def __init__(self, config: Path, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="agent", daemon=True)
        self.error: BaseException | None = None

    def _work(self) -> None:
        try:
            run_agent(load_config(self._config, {}), self._stop.is_set, environ={}, clock=self._clock)
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert self.error is None, self.error


@dataclass(frozen=True)
class Heard:
    """One message, as it came."""

    topic: str
    payload: bytes
    retained: bool
    expiry_s: int | None
    at: float


class Listener:
    """What a collector sees; with `witness` it answers as one: keeps lines, cosigns, asks for missing ones.

    It keeps what it heard over broker restarts (its session lasts).
    """

    def __init__(self, broker: Broker, *, witness: bool = False, name: str = "listener") -> None:
        self.heard: list[Heard] = []
        self.lines: dict[str, dict[int, str]] = {}
        self.cosigned: dict[str, int] = {}
        self.conflicts: list[str] = []
        self.witness = witness
        self._lock = threading.RLock()
        card = broker.collector
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=True
        )
        client.reconnect_delay_set(1, 1)
        client.tls_set_context(card.tls())
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        self._subscribed = threading.Event()
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.connect(broker.host, broker.fleet_port, clean_start=False, properties=properties)
        self.client = client

    def __enter__(self) -> Self:
        self.client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def on(self, topic: str) -> list[Heard]:
        with self._lock:
            return [heard for heard in self.heard if heard.topic == topic]

    def wait(self, topic: str, count: int = 1, limit_s: float = 20) -> Heard:
        wait_for(lambda: len(self.on(topic)) >= count, f"message {count} on {topic}", limit_s)
        return self.on(topic)[count - 1]

    def wait_lines(self, log: str, count: int, limit_s: float = 30) -> None:
        wait_for(
            lambda: set(range(count)) <= self.lines.get(log, {}).keys(), f"{count} lines of {log}", limit_s
        )

    def wait_cosigned(self, log: str, size: int, limit_s: float = 30) -> None:
        wait_for(lambda: self.cosigned.get(log, 0) >= size, f"{log} cosigned to {size}", limit_s)

    def wait_status(self, state: str, reason: str | None = None, limit_s: float = 60) -> Heard:
        """The newest status is this one."""
        topic = str(Topic(DEVICE, TopicKind.STATUS))

        def is_so() -> bool:
            heard = self.on(topic)
            said = json.loads(heard[-1].payload) if heard and heard[-1].payload else {}
            return said.get("state") == state and said.get("reason") == reason

        wait_for(is_so, f"status {state} {reason}", limit_s)
        return self.on(topic)[-1]

    def say(self, kind: TopicKind, name: str, payload: bytes, device: str = DEVICE) -> None:
        self.client.publish(str(Topic(device, kind, name)), payload, qos=1)

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe("veil/#", qos=1)

    def _on_message(self, _c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        expiry = getattr(message.properties, "MessageExpiryInterval", None)
        with self._lock:
            self.heard.append(Heard(message.topic, message.payload, message.retain, expiry, time.monotonic()))
            topic = Topic.parse(message.topic)
            if topic is not None and topic.kind is TopicKind.LOG:
                entries = LogEntries.decode(message.payload)
                kept = self.lines.setdefault(topic.name, {})
                for number, line in enumerate(entries.lines, entries.first):
                    if kept.setdefault(number, line) != line:
                        self.conflicts.append(f"{topic.name} {number}")
            if topic is not None and topic.kind is TopicKind.CHECKPOINT and self.witness:
                self._cosign(topic, message.payload)

    def _cosign(self, topic: Topic, payload: bytes) -> None:
        said = CheckpointNote.decode(payload)
        size = int(said.note.splitlines()[1])
        kept = self.lines.get(topic.name, {})
        missing = next((number for number in range(size) if number not in kept), None)
        if missing is not None:
            request = Resend(log=topic.name, first=missing, count=size - missing)
            self.say(TopicKind.RESEND, topic.name, request.encode(), topic.device)
            return
        note = cosign_note(Note.parse(said.note), WITNESS, int(time.time()))
        answer = CheckpointNote(log=topic.name, note=note.encode())
        self.say(TopicKind.COSIGN, topic.name, answer.encode(), topic.device)
        self.cosigned[topic.name] = max(size, self.cosigned.get(topic.name, 0))
