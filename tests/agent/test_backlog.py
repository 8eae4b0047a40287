"""A long backlog over a link that never lasts for all of it: what a receipt covers is not sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.house import DEVICE, WITNESS
from fleet.boxes import Log, segment
from veil.agent.outbox import Outbox
from veil.agent.packets import Outgoing
from veil.agent.shipper import STEP, Shipper
from veil.audit.checkpoint import Checkpoint
from veil.audit.note import Note, SigningKey, cosign_note
from veil.audit.signer import LogSigner
from veil.domain.clock import SystemClock
from veil.messages.evidence import CheckpointNote, LogEntries

LINES = 5 * STEP
KEY = SigningKey.generate(f"veil/{DEVICE}")


class Link:
    """Takes so many messages, then no more; a witness has what it took, line after line."""

    def __init__(self, takes: int) -> None:
        self._left = takes
        self.first: int | None = None
        self.stored = 0
        self.notes: list[Note] = []

    def publish(self, message: Outgoing) -> bool:
        if self._left == 0:
            return False
        self._left -= 1
        if "/checkpoint/" in message.topic:
            self.notes.append(Note.parse(CheckpointNote.decode(message.payload).note))
        else:
            entries = LogEntries.decode(message.payload)
            self.first = entries.first if self.first is None else self.first
            self.stored = entries.first + len(entries.lines)
        return True


@pytest.fixture
def signer(tmp_path: Path) -> Iterator[LogSigner]:
    log = Log(DEVICE, "front")
    for number in range(LINES):
        log.append(segment(number))
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "events.jsonl").write_text("".join(f"{line}\n" for line in log.lines))
    with LogSigner(tmp_path / "front", "front", DEVICE, SystemClock()) as made:
        yield made


def test_a_backlog_gets_its_receipts_by_steps(signer: LogSigner, tmp_path: Path) -> None:
    with Outbox.open(tmp_path / "outbox.sqlite", 64 << 20) as outbox:
        shipper = Shipper(signer, outbox, DEVICE, 0, 60.0)
        while shipper.follow(0.0):
            shipper.sign_if_due(KEY, 0.0)
        shipper.sign_if_due(KEY, 0.0)
        assert shipper.unsigned == 0
        covered, connections = 0, 0
        while covered < LINES:
            connections += 1
            assert connections < 20, f"no receipt over {covered} lines"
            link = Link(takes=60)
            shipper.reconnected(0.0)
            while shipper.send(link.publish, 60_000, 0.0):
                pass
            assert link.first == covered
            for note in link.notes:
                assert Checkpoint.parse(note.text).size <= link.stored
                receipt = CheckpointNote(log="front", note=cosign_note(note, WITNESS, 1).encode())
                covered = shipper.cosigned(receipt.encode(), [WITNESS.verifier], 0.0)
        assert connections > 2
        assert outbox.events == 0


def test_the_first_checkpoint_from_a_size_is_found(signer: LogSigner) -> None:
    sizes = []
    while signer.follow(700):
        signer.sign(KEY)
        sizes.append(signer.size)
    for wanted in (0, 1, 699, 700, 701, LINES // 2, sizes[-2] + 1, LINES):
        found = signer.checkpoint_from(wanted)
        assert found is not None
        assert found[0] == next(size for size in sizes if size >= wanted)
        assert Checkpoint.parse(found[1].text).size == found[0]
    assert signer.checkpoint_from(LINES + 1) is None
