"""Honest boxes, through crashes, repairs, rotations and restarts, are never called tampered with."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audit.javascript import NODE, JavaScriptVerifier
from veil.audit.event import Event, Kind
from veil.audit.heads import sizes_under
from veil.audit.keys import KeyStore
from veil.audit.log import EventLog
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, cosign_note
from veil.audit.signer import LogSigner
from veil.audit.verify import Demands, verify
from veil.audit.witness import keep_witness_keys

HONEST = int(os.environ.get("VEIL_HONEST", "50"))
LOGS = ("box", "front", "back")

pytestmark = pytest.mark.skipif(NODE is None, reason="node, for the second verifier, is not installed")


@dataclass(slots=True)
class SteppingClock:
    """A wall clock that is set now and then, backwards too."""

    rng: random.Random
    now_ns: int = 1_790_000_000_000_000_000

    def monotonic_ns(self) -> int:
        return 0

    def wall_ns(self) -> int:
        self.now_ns += 1_234_567
        if self.rng.random() < 0.03:
            self.now_ns += self.rng.choice((-3600, 3600, 86_400)) * 10**9
        return self.now_ns


@dataclass(slots=True)
class LivingBox:
    """The real log, signer and key store, with an agent that is killed and cameras that lose their power."""

    state: Path
    rng: random.Random
    clock: SteppingClock = field(init=False)
    witness: SigningKey = field(init=False)
    agent: ExitStack = field(default_factory=ExitStack)
    signers: dict[str, LogSigner] = field(default_factory=dict)
    store: KeyStore = field(init=False)
    anchors: dict[str, Note] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = SteppingClock(self.rng)
        self.witness = SigningKey.from_seed("fleet", self.rng.randbytes(32), COSIGNATURE_V1)
        (self.state / "log").mkdir(parents=True)
        self.append()
        self.start_agent()
        keep_witness_keys(self.state / "log", [self.witness.verifier])

    def start_agent(self) -> None:
        self.agent.close()
        self.store = KeyStore.open(self.state / "log", "box-7", self.clock)
        for name in LOGS:
            self.signers[name] = self.agent.enter_context(
                LogSigner(self.state / "log" / name, name, "box-7", self.clock)
            )

    def append(self) -> None:
        for name in LOGS:
            with self.log(name) as log:
                for _ in range(self.rng.randrange(4)):
                    log.append(
                        Event(self.rng.choice(list(Kind)), {"text": "é\n\u2028" * self.rng.randrange(3)})
                    )

    def log(self, name: str) -> EventLog:
        return EventLog(self.state / "log" / name / "events.jsonl", name, self.clock, reserve_bytes=0)

    def tear(self) -> None:
        """The power goes while a line is written."""
        torn = self.rng.choice((b'{"data":{"n":1', b"\0" * 700, b"x" * 40_000, self.rng.randbytes(80)))
        torn = torn.replace(b"\n", b"") if self.rng.random() < 0.7 else torn.replace(b"\n", b"") + b"\n"
        path = self.state / "log" / self.rng.choice(LOGS) / "events.jsonl"
        if b"\n" not in path.read_bytes():
            return
        with path.open("ab") as file:
            file.write(torn)
        if torn.endswith(b"\n"):
            # Whole blocks of a lost write can hold newlines: the log cuts them off when it is opened. The
            # agent may look before that.
            self.signers[path.parent.name].follow()
            with self.log(path.parent.name):
                pass

    def sign(self) -> None:
        for signer in self.signers.values():
            while signer.follow(3):
                pass
            signer.sign(self.store.signing_key)

    def cosign(self) -> None:
        for name, signer in self.signers.items():
            if signer.newest is not None and self.rng.random() < 0.7:
                note = cosign_note(signer.newest, self.witness, self.clock.wall_ns() // 10**9)
                signer.store_cosigned(note, [self.witness.verifier])
                self.anchors[name] = note

    def tear_checkpoint(self) -> None:
        """The agent is killed while it signs, and started again."""
        path = self.state / "log" / self.rng.choice(LOGS) / "checkpoints.jsonl"
        with path.open("ab") as file:
            file.write(b'{"note":"veil/box-7/'[: self.rng.randrange(1, 20)])
        self.start_agent()

    def rotate(self) -> None:
        self.store.rotate(sizes_under(self.state / "log", self.store.verifier))
        if self.rng.random() < 0.5:
            with self.log("box") as log:
                self.store.announce(log)

    def rotate_and_crash(self) -> None:
        keys = self.state / "keys"
        old = (keys / "signing.key").read_bytes()
        self.rotate()
        new = (keys / "signing.key").read_bytes()
        (keys / "signing.key.next").write_bytes(new)
        (keys / "signing.key.next").chmod(0o600)
        (keys / "signing.key").write_bytes(old)
        self.start_agent()

    def live(self, steps: int) -> None:
        doings = (
            [self.append] * 5
            + [self.sign] * 5
            + [self.cosign] * 3
            + [self.tear, self.tear_checkpoint, self.start_agent, self.rotate, self.rotate_and_crash]
        )
        for _ in range(steps):
            self.rng.choice(doings)()


def test_honest_evidence_is_never_called_tampered_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing here cuts the power of the machine that runs the test.
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, call, lambda descriptor: None)
    torn = 0
    with JavaScriptVerifier() as other:
        for seed in range(HONEST):
            box = LivingBox(tmp_path / str(seed), random.Random(f"honest {seed}"))
            with box.agent:
                box.live(box.rng.randrange(4, 30))
            folder = tmp_path / str(seed) / "log"
            log = box.rng.choice(LOGS)
            anchor = box.anchors.get(log)
            anchor_file = None
            if anchor is not None:
                anchor_file = tmp_path / "anchor"
                anchor_file.write_text(anchor.encode())
            ours = verify(folder, Demands(box.store.verifier, anchor))
            assert not ours.findings, (seed, ours.findings)
            theirs = other.verify(folder, str(box.store.verifier), anchor_file)
            assert theirs["ok"], (seed, theirs)
            for name in LOGS:
                assert verify(folder / name).ok
            torn += len(ours.warnings)
            counts = {name: (of.events, of.signed, of.cosigned) for name, of in ours.logs.items()}
            assert counts == {
                name: (of["events"], of["signed"], of["cosigned"]) for name, of in theirs["logs"].items()
            }
    assert torn
