"""Folders of evidence made in memory: small and honest, with rotations and cosignatures in them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from veil.audit.canonical import dump
from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, key_name_of, origin_of
from veil.audit.event import Event, Kind, canonical_line, timestamp
from veil.audit.keyring import KeyRecord
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, cosign_note
from veil.audit.tree import Frontier, leaf_hash

DEVICE = "box-7"
Files = dict[str, bytes]


def seeded_key(rng: random.Random, name: str, algorithm: int = 1) -> SigningKey:
    return SigningKey.from_seed(name, rng.randbytes(32), algorithm)


@dataclass(slots=True)
class MadeLog:
    """One log as it grows."""

    name: str
    lines: list[bytes] = field(default_factory=list)
    heads: list[Note] = field(default_factory=list)
    signed_with: list[SigningKey] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    cosigned: Note | None = None

    def append(self, event: Event, wall_ns: int) -> None:
        previous = leaf_hash(self.lines[-1]) if self.lines else bytes(32)
        self.lines.append(canonical_line(self.name, len(self.lines), previous, wall_ns, event))

    def root(self) -> bytes:
        tree = Frontier()
        for line in self.lines:
            tree.append(leaf_hash(line))
        return tree.root()

    def sign(self, key: SigningKey, wall_ns: int, device: str = DEVICE) -> None:
        if self.lines and (not self.sizes or self.sizes[-1] < len(self.lines)):
            previous = Checkpoint.parse(self.heads[-1].text).digest() if self.heads else FIRST_PREVIOUS
            origin = origin_of(device, self.name)
            head = Checkpoint(origin, len(self.lines), self.root(), timestamp(wall_ns), previous)
            self.heads.append(head.sign(key))
            self.signed_with.append(key)
            self.sizes.append(len(self.lines))


@dataclass(slots=True)
class MadeBox:
    """A box's evidence; `files` writes it as the format has it."""

    seed: int
    rng: random.Random = field(init=False)
    keys: list[SigningKey] = field(default_factory=list)
    records: list[KeyRecord] = field(default_factory=list)
    logs: dict[str, MadeLog] = field(default_factory=dict)
    witness: SigningKey = field(init=False)
    now_ns: int = 1_790_000_000_000_000_000

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.witness = seeded_key(self.rng, "fleet", COSIGNATURE_V1)
        self.keys = [seeded_key(self.rng, key_name_of(DEVICE))]
        self.records = [KeyRecord.make(DEVICE, self.keys[0], None, {}, timestamp(self.now_ns))]

    def tick(self) -> int:
        # The wall clock may step, backwards too.
        self.now_ns += self.rng.choice((1_000_000, 60_000_000_000, -3_600_000_000_000))
        return self.now_ns

    def append(self, log: str) -> None:
        kinds = (Kind.FAULT, Kind.SLATE_STARTED, Kind.SEGMENT_CLOSED)
        data = {
            "text": "ü" * self.rng.randrange(3),
            "sha256": self.rng.randbytes(8).hex(),
            "n": self.rng.randrange(99),
        }
        self.logs.setdefault(log, MadeLog(log)).append(Event(self.rng.choice(kinds), data), self.tick())

    def sign(self, log: str) -> None:
        self.logs[log].sign(self.keys[-1], self.tick())

    def cosign(self, log: str) -> None:
        made = self.logs[log]
        if made.heads:
            made.cosigned = cosign_note(made.heads[-1], self.witness, self.now_ns // 10**9)

    def rotate(self) -> None:
        old, new = self.keys[-1], seeded_key(self.rng, key_name_of(DEVICE))
        self.records.append(KeyRecord.make(DEVICE, new, old, self.sizes_under(old), timestamp(self.tick())))
        self.keys.append(new)

    def sizes_under(self, key: SigningKey) -> dict[str, int]:
        ends = {}
        for name, log in self.logs.items():
            under = [size for size, each in zip(log.sizes, log.signed_with, strict=True) if each is key]
            if under:
                ends[name] = under[-1]
        return ends

    def files(self) -> Files:
        files = {
            "keys.jsonl": b"".join(record.line() + b"\n" for record in self.records),
            "witness.vkeys": f"{self.witness.verifier}\n".encode(),
        }
        for name, log in self.logs.items():
            files[f"{name}/events.jsonl"] = b"".join(line + b"\n" for line in log.lines)
            files[f"{name}/checkpoints.jsonl"] = heads_file(log.heads)
            if log.cosigned is not None:
                files[f"{name}/cosigned"] = log.cosigned.encode().encode()
        return files

    def anchor(self, log: str) -> Note | None:
        """What the fleet manager would give: the newest checkpoint."""
        heads = self.logs[log].heads
        return heads[-1] if heads else None


def heads_file(heads: list[Note]) -> bytes:
    return b"".join(dump({"note": head.encode()}) + b"\n" for head in heads)


def make_box(seed: int) -> MadeBox:
    """Two logs of about ten lines, signed to the end and cosigned, often with a rotation in between."""
    box = MadeBox(seed)
    rng = box.rng
    logs = ("box", "front")
    for part in range(rng.randrange(2, 4)):
        for log in logs:
            for _ in range(rng.randrange(1, 5)):
                box.append(log)
            box.sign(log)
        if rng.random() < 0.5 and part == 0:
            box.rotate()
            for log in logs:
                box.append(log)
                box.sign(log)
    for log in logs:
        box.cosign(log)
    return box


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
