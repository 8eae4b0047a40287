"""Evidence on its way: in order, until there is a receipt, through the ends of agent and broker."""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.house import (
    DEVICE,
    SOON,
    WITNESS,
    AgentProcess,
    AgentThread,
    Listener,
    fill,
    log_of,
    write_config,
)
from fleet_house import Broker, wait_for
from veil.audit.event import Event, Kind
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, VerifierKey, cosign_note
from veil.audit.requests import ROTATE_KEY, Request, ask
from veil.audit.verify import verify
from veil.domain.clock import SystemClock
from veil.messages.evidence import CheckpointNote, LogEntries, Resend
from veil.messages.topics import Kind as TopicKind

ROUNDS = int(os.environ.get("VEIL_KILLS", "3"))


def waiting(state: Path, log: str = "front") -> int:
    """Lines in the outbox, from outside."""
    database = state / "agent" / "outbox.sqlite"
    if not database.exists():
        return -1
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as found:
        return int(found.execute("SELECT count(*) FROM lines WHERE log = ?", (log,)).fetchone()[0])


def in_file(state: Path, log: str = "front") -> list[str]:
    return (state / "log" / log / "events.jsonl").read_text().splitlines()


def test_lines_come_in_order_and_a_receipt_empties_the_outbox(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    # Signed each minute, and at once where a segment is closed.
    config = write_config(box, broker, cameras="front", agent="")
    with Listener(broker, witness=True) as fleet, log_of(box / "state", "front") as log:
        fill(log, 300)
        with AgentThread(config):
            fleet.wait_cosigned("front", 300)
            wait_for(lambda: waiting(box / "state") == 0, "an empty outbox")
            fill(log, 5, Kind.SEGMENT_CLOSED)
            fleet.wait_cosigned("front", 305)
            kept = box / "state/log/front/cosigned"
            wait_for(lambda: kept.exists() and kept.read_text().splitlines()[1] == "305", "the receipt")
        firsts = [LogEntries.decode(heard.payload).first for heard in fleet.on(f"veil/{DEVICE}/log/front")]
        assert firsts == sorted(firsts)
        assert [fleet.lines["front"][number] for number in range(305)] == in_file(box / "state")
        assert fleet.lines["box"][0].count('"kind":"agent_started"') == 1


def test_no_payload_is_over_64_kib_whatever_lines_hold(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    with Listener(broker, witness=True) as fleet, log_of(box / "state", "front") as log:
        for size in (15_000, 40, 7_000):
            for text in ('"' * (size // 2), "\\" * (size // 2), "x" * size, "ü" * (size // 2)):
                log.append(Event(Kind.FAULT, {"text": text}))
        with AgentThread(config):
            fleet.wait_cosigned("front", 12)
        assert [fleet.lines["front"][number] for number in range(12)] == in_file(box / "state")
        assert max(len(heard.payload) for heard in fleet.heard) < 64 * 1024


def test_a_broker_that_takes_everything_with_nobody_behind_it_loses_nothing(
    broker: Broker, tmp_path: Path
) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    with log_of(box / "state", "front") as log:
        fill(log, 100)
        with Listener(broker) as nobody, AgentThread(config):
            nobody.wait_lines("front", 100)
            nobody.wait(f"veil/{DEVICE}/checkpoint/front")
            time.sleep(0.5)
            assert waiting(box / "state") == 100
    with Listener(broker, witness=True, name="late") as fleet, AgentThread(config):
        fleet.wait_cosigned("front", 100)
        assert [fleet.lines["front"][number] for number in range(100)] == in_file(box / "state")


def test_lines_that_got_lost_behind_the_broker_are_sent_again(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    with Listener(broker) as fleet, log_of(box / "state", "front") as log, AgentThread(config):
        fill(log, 150)
        fleet.wait_lines("front", 150)
        checkpoint = fleet.wait(f"veil/{DEVICE}/checkpoint/front")
        with fleet._lock:
            fleet.lines["front"] = {n: line for n, line in fleet.lines["front"].items() if n % 7}
            fleet.witness = True
        fleet.say(TopicKind.RESEND, "front", Resend(log="front", first=0, count=100_000).encode())
        fleet.wait_cosigned("front", 150)
        assert checkpoint.payload
        assert [fleet.lines["front"][number] for number in range(150)] == in_file(box / "state")


Forge = Callable[[Note], Note]
STRANGER = SigningKey.from_seed("fleet/witness", b"s" * 32, COSIGNATURE_V1)
FORGERIES: dict[str, Forge] = {
    "unsigned": lambda note: note,
    "by another key": lambda note: cosign_note(note, STRANGER, int(time.time())),
    "of another text": lambda note: Note(note.text.replace("\n100\n", "\n99\n"), note.signatures),
    "with a changed signature": lambda note: Note(
        note.text, (note.signatures[0], *cosign_note(Note(note.text + "x", ()), WITNESS, 1).signatures)
    ),
    "without the box's own": lambda note: cosign_note(Note(note.text, ()), WITNESS, 1),
}


def test_forged_receipts_empty_nothing_and_are_evidence(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    with Listener(broker) as fleet, log_of(box / "state", "front") as log:
        fill(log, 100)
        with AgentThread(config):
            note = Note.parse(json.loads(fleet.wait(f"veil/{DEVICE}/checkpoint/front").payload)["note"])
            assert "\n100\n" in note.text
            for number, forge in enumerate(FORGERIES.values(), 1):
                receipt = CheckpointNote(log="front", note=forge(note).encode())
                fleet.say(TopicKind.COSIGN, "front", receipt.encode())
                wait_for(
                    lambda number=number: (  # type: ignore[misc]
                        sum("cosign/front was refused" in line for line in in_file(box / "state", "box"))
                        == number
                    ),
                    f"the event of {list(FORGERIES)[number - 1]}",
                )
            assert waiting(box / "state") == 100
            assert not (box / "state/log/front/cosigned").exists()


def test_a_new_camera_needs_no_restart(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker)
    with Listener(broker, witness=True) as fleet, AgentThread(config):
        fleet.wait_cosigned("box", 1)
        with log_of(box / "state", "late") as log:
            fill(log, 3)
            fleet.wait_cosigned("late", 1)


def test_without_a_network_logs_are_signed_all_the_same(tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, None, cameras="front")
    with log_of(box / "state", "front") as log, AgentThread(config):
        fill(log, 20)
        signed = box / "state/log/front/checkpoints.jsonl"
        wait_for(lambda: "\\n20\\n" in signed.read_text(), "a checkpoint of 20 lines")
        log.append(Event(Kind.FAULT, {"text": "one more"}))
        wait_for(lambda: "\\n21\\n" in signed.read_text(), "a checkpoint after a second")


def test_at_its_end_everything_is_signed(tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, None)
    with AgentThread(config):
        wait_for((box / "state/log/box/events.jsonl").exists, "the log")
    lines = in_file(box / "state", "box")
    assert '"kind":"agent_stopped"' in lines[-1]
    newest = (box / "state/log/box/checkpoints.jsonl").read_text().splitlines()[-1]
    assert f"\\n{len(lines)}\\n" in newest


def test_a_damaged_log_is_told_and_the_others_go_on(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front back")
    with Listener(broker, witness=True) as fleet, AgentThread(config):
        with log_of(box / "state", "front") as log:
            fill(log, 10)
            fleet.wait_cosigned("front", 10, 20)
        path = box / "state/log/front/events.jsonl"
        path.write_bytes(path.read_bytes()[:-20] + b'"}\n')
        with log_of(box / "state", "back") as log:
            fill(log, 10, Kind.SEGMENT_CLOSED)
            fleet.wait_cosigned("back", 10, 20)
            wait_for(
                lambda: any('"kind":"log_damaged"' in line for line in in_file(box / "state", "box")),
                "it",
                20,
            )
            fill(log, 10, Kind.SEGMENT_CLOSED)
            fleet.wait_cosigned("back", 20, 20)


def test_a_damaged_outbox_is_moved_aside_and_remade_from_the_logs(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    with log_of(box / "state", "front") as log:
        fill(log, 200)
        with Listener(broker) as nobody, AgentThread(config):
            nobody.wait_lines("front", 200)
        database = box / "state/agent/outbox.sqlite"
        content = bytearray(database.read_bytes())
        content[16384 : 3 * 16384] = random.Random(1).randbytes(2 * 16384)
        database.write_bytes(content)
        fill(log, 5)
        with Listener(broker, witness=True, name="other") as fleet, AgentThread(config):
            fleet.wait_cosigned("front", 200)
            fleet.wait_lines("front", 205)
            assert [fleet.lines["front"][number] for number in range(205)] == in_file(box / "state")
    assert database.with_name("outbox.sqlite.damaged-0").exists()
    assert any("kept as outbox.sqlite.damaged-0" in line for line in in_file(box / "state", "box"))


def test_a_full_outbox_loses_nothing(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its limit is far under what the log holds; what does not fit is taken from the log."""
    monkeypatch.setattr("veil.agent.service.MEBIBYTE", 16 << 10)
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front", agent=f"outbox_max_mib = 16\n{SOON}")
    with Listener(broker) as fleet, log_of(box / "state", "front") as log:
        for number in range(70):
            log.append(Event(Kind.FAULT, {"text": f"{number} " + "x" * 9000}))
        with AgentThread(config):
            fleet.wait_lines("front", 70)
            assert 0 < waiting(box / "state") < 40
            wait_for(lambda: any("outbox is full" in line for line in in_file(box / "state", "box")), "it")
            fleet.witness = True
            fleet.say(TopicKind.RESEND, "front", Resend(log="front", first=0, count=1).encode())
            fleet.wait_cosigned("front", 70)
            wait_for(lambda: waiting(box / "state") == 0, "an empty outbox")
            wait_for(lambda: "takes lines again" in in_file(box / "state", "box")[-1], "that it is told", 20)
        assert [fleet.lines["front"][number] for number in range(70)] == in_file(box / "state")


def test_nothing_is_lost_or_changed_through_kills_of_agent_and_broker(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front back")
    chance = random.Random(4)
    with (
        Listener(broker, witness=True) as fleet,
        log_of(box / "state", "front") as front,
        log_of(box / "state", "back") as back,
    ):
        for number in range(ROUNDS):
            with AgentProcess(config) as agent:
                until = time.monotonic() + chance.uniform(1.5, 4.0)
                for log in itertools.cycle((front, back)):
                    fill(log, chance.randrange(1, 30))
                    if time.monotonic() > until:
                        break
                    time.sleep(0.02)
                if number % 2:
                    broker.kill()
                    broker.start()
                agent.kill()
        with AgentThread(config):
            for log in (front, back):
                log.append(Event(Kind.SEGMENT_CLOSED, {"file": "last"}))
            fleet.wait_cosigned("front", front.next_sequence, 90)
            fleet.wait_cosigned("back", back.next_sequence, 90)
        assert fleet.conflicts == []
        assert verify(box / "state/log").ok
        for name in ("front", "back"):
            lines = in_file(box / "state", name)
            assert [fleet.lines[name][number] for number in range(len(lines))] == lines


def test_a_rotated_key_is_told_and_signs_from_then_on(broker: Broker, tmp_path: Path) -> None:
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    keys = f"veil/{DEVICE}/keys"
    with Listener(broker, witness=True) as fleet, log_of(box / "state", "front") as log, AgentThread(config):
        fill(log, 5)
        fleet.wait_cosigned("front", 5)
        ask(box / "state", Request(ROTATE_KEY, {}), DEVICE, SystemClock(), 20)
        fleet.wait(keys, 2)
        fill(log, 5)
        fleet.wait_cosigned("front", 10)
        first, second = (json.loads(fleet.on(keys)[at].payload)["records"] for at in (0, -1))
        assert (len(first), len(second)) == (1, 2)
        new = VerifierKey.parse(json.loads(second[1])["new"])
        note = Note.parse(json.loads(fleet.on(f"veil/{DEVICE}/checkpoint/front")[-1].payload)["note"])
        note.verify(new)
        fleet.wait_lines("box", 3)
        assert '"kind":"key_rotated"' in "".join(in_file(box / "state", "box"))
    assert verify(box / "state/log").ok


@pytest.mark.parametrize("count", [10, 60])
def test_a_log_that_was_moved_aside_begins_anew(broker: Broker, tmp_path: Path, count: int) -> None:
    """What the outbox still holds of the old one is not sent as the new one's."""
    box = tmp_path / "box"
    config = write_config(box, broker, cameras="front")
    with Listener(broker) as nobody, log_of(box / "state", "front") as log, AgentThread(config):
        fill(log, 40)
        nobody.wait_lines("front", 40)
        wait_for(lambda: waiting(box / "state") == 40, "40 lines in the outbox")
    (box / "state/log/front").rename(tmp_path / "aside")
    with Listener(broker, witness=True, name="other") as fleet, log_of(box / "state", "front") as log:
        fill(log, count, size=30)
        with AgentThread(config):
            fleet.wait_cosigned("front", count)
        assert fleet.conflicts == []
        assert [fleet.lines["front"][number] for number in range(count)] == in_file(box / "state")
