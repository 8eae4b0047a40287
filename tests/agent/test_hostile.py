"""Whatever comes on the topics of a box: no crash, no growth, nothing done, and a bounded number of events.

VEIL_HOSTILE sets how many payloads each kind gets.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agent.house import DEVICE, WITNESS, AgentThread, Listener, fill, log_of, write_config
from fleet_house import Broker, wait_for
from hostile_pool import Pool, drawn
from veil.agent.inbound import SINGLE_EVENTS, WINDOW_S, Refusals
from veil.agent.packets import Inbound
from veil.agent.service import Agent
from veil.audit.event import Event
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, cosign_note
from veil.config_load import load_config
from veil.domain.clock import NANOSECONDS, SystemClock
from veil.messages.evidence import CheckpointNote, Resend
from veil.messages.topics import Kind, Topic

HOSTILE = int(os.environ.get("VEIL_HOSTILE", "150"))

CHECKPOINTS = "box/state/log/front/checkpoints.jsonl"
DEEP = b"[" * 60_000 + b"]" * 60_000
SHAPES = (
    b"",
    b"{}",
    b"null",
    DEEP,
    b'{"a":' * 20_000,
    b"\xff\xfe" * 1000,
    b"x" * (2 << 20),
    b'{"v":1,"log":"front","note":"' + b"\\ud800" * 100 + b'"}',
    b'{"v":1,"log":"front","first":1e400,"count":1}',
    b'{"v":1,"log":"front","first":' + b"9" * 5000 + b',"count":1}',
    json.dumps({"v": 1, "log": "front", "first": -1, "count": 100_001}).encode(),
    json.dumps({"v": 1, "log": "../../etc", "first": 0, "count": 1}).encode(),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
near = st.fixed_dictionaries(
    {},
    optional={
        "v": anything,
        "log": st.just("front") | anything,
        "note": st.text(max_size=300) | anything,
        "first": st.integers() | anything,
        "count": st.integers() | anything,
        "body": st.text(max_size=200) | anything,
        "key": st.text(max_size=100) | anything,
        "signature": st.text(max_size=100) | anything,
    },
)
payloads = (
    st.sampled_from(SHAPES)
    | st.binary(max_size=300)
    | st.builds(lambda value: json.dumps(value).encode(), anything | near)
)
TAKEN = (*(f"{kind}/{name}" for kind in ("cosign", "resend") for name in ("front", "box", "none")), "command")
topics = (
    st.sampled_from([f"veil/{DEVICE}/{taken}" for taken in TAKEN])
    | st.sampled_from([f"veil/{DEVICE}/status", "veil/other/command", "veil", "$SYS/x"])
    | st.text(max_size=80)
)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """An agent without a broker: what it is given comes straight from the test."""
    box = tmp_path / "box"
    with log_of(box / "state", "front") as log, ExitStack() as scope:
        fill(log, 50)
        config = load_config(write_config(box, None, cameras="front"), {})
        made = Agent(config, {}, SystemClock(), lambda: None, scope)
        for _ in range(3):
            made.step()
        yield made


def test_no_payload_on_any_topic_does_harm(agent: Agent, tmp_path: Path) -> None:
    answer = st.text(max_size=100)

    @hypothesis_settings(
        max_examples=drawn(HOSTILE), deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(topic=topics, payload=payloads, response=answer, correlation=st.binary(max_size=2000))
    def give(topic: str, payload: bytes, response: str, correlation: bytes) -> None:
        pool.add(payload)
        agent._take(Inbound(topic, payload, response, correlation), time.monotonic())

    note = Note.parse(json.loads((tmp_path / CHECKPOINTS).read_text().splitlines()[0])["note"])
    stranger = SigningKey.generate(WITNESS.verifier.name, COSIGNATURE_V1)
    receipt = CheckpointNote(log="front", note=cosign_note(note, stranger, 1).encode())
    pool = Pool([receipt.encode(), Resend(log="front", first=3, count=10).encode()])
    process = psutil.Process()
    before = agent._evidence.waiting
    give()
    memory = process.memory_info().rss
    for number, payload in enumerate(pool.more(HOSTILE)):
        topic = f"veil/{DEVICE}/{TAKEN[number % len(TAKEN)]}"
        agent._take(Inbound(topic, payload, f"veil/{DEVICE}/response", b"1"), time.monotonic())
        if number % 1000 == 0:
            agent.step()
    assert process.memory_info().rss - memory < 100 << 20
    agent._follow_at_s = 0.0
    agent.step()
    assert agent._evidence.waiting >= before, "nothing left without a receipt"
    assert agent._commands._thread.is_alive()
    assert len(agent._commands._responses) <= 32


@hypothesis_settings(max_examples=drawn(HOSTILE), deadline=None, database=None)
@given(st.text(alphabet="veil/box-1+#$\x00é abc", max_size=60) | st.text(max_size=200))
def test_a_topic_is_one_of_ours_or_none(text: str) -> None:
    topic = Topic.parse(text)
    assert topic is None or str(topic) == text


def test_resends_are_bounded(agent: Agent) -> None:
    shipper = agent._evidence._logs["front"].shipper
    for first in range(40):
        message = Resend(log="front", first=first, count=100_000)
        agent._take(Inbound(f"veil/{DEVICE}/resend/front", message.encode()), 0.0)
    assert sum(asked.end - asked.first for asked in shipper._resends) <= 50
    agent._take(
        Inbound(f"veil/{DEVICE}/resend/front", Resend(log="front", first=2**52, count=1).encode()), 0.0
    )
    assert len(shipper._resends) <= 16


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> int:
        self.events.append(event)
        return len(self.events)


class HandClock:
    now_s = 0.0

    def monotonic_ns(self) -> int:
        return int(self.now_s * NANOSECONDS)

    def wall_ns(self) -> int:
        return 0


def test_a_flood_is_a_handful_of_events() -> None:
    log, clock = Kept(), HandClock()
    clock.now_s = 5.0
    refusals = Refusals(log, clock)
    for _ in range(10_000):
        refusals.note("cosign/front", "no.")
    assert len(log.events) == SINGLE_EVENTS
    clock.now_s += WINDOW_S
    refusals.step()
    assert len(log.events) == SINGLE_EVENTS + 1
    assert str(10_000 - SINGLE_EVENTS) in str(log.events[-1].data["text"])
    assert refusals.total == 10_000


def test_a_flood_over_the_broker_costs_neither_memory_nor_status(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    process = psutil.Process()
    with Listener(broker, witness=True) as fleet, log_of(box / "state", "front") as log:
        fill(log, 10)
        with AgentThread(write_config(box, broker, cameras="front")):
            fleet.wait_cosigned("front", 10)
            note = Note.parse(json.loads(fleet.on(f"veil/{DEVICE}/checkpoint/front")[-1].payload)["note"])
            replay = CheckpointNote(log="front", note=cosign_note(note, WITNESS, 1).encode()).encode()
            before = process.memory_info().rss
            for number in range(min(HOSTILE, 3000)):
                large: Any = SHAPES[number % len(SHAPES)][: 60 * 1024]
                for kind in (Kind.COSIGN, Kind.RESEND):
                    fleet.say(kind, "front", large)
                fleet.say(Kind.COSIGN, "front", replay)
            fill(log, 10)
            fleet.wait_cosigned("front", 20, 60)
            wait_for(lambda: "refused" in (box / "state/log/box/events.jsonl").read_text(), "events")
            assert process.memory_info().rss - before < 100 << 20
            assert threading.active_count() < 40
