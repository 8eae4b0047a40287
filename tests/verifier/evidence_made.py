"""Evidence folders made by the book, docs/log-format.md: with cryptography and hashlib, nothing of Veil.

Not the writer that the product has: the vectors must not follow its mistakes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BOX, WITNESS = 0x01, 0x04
START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def canonical(value: object) -> bytes:
    """RFC 8785 for what the format allows: ASCII keys, no fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def time_text(second: int) -> str:
    return (START + timedelta(seconds=second, microseconds=second * 1237 % 1_000_000)).strftime(
        "%Y-%m-%dT%H:%M:%S.%fZ"
    )


def leaf_hash(line: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + line).digest()


def root_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962, as its section 2.1 writes it."""
    if len(leaves) == 0:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root_hash(leaves[:split]) + root_hash(leaves[split:])).digest()


class Key:
    """A key made from a seed, so that the vectors are the same every time."""

    def __init__(self, name: str, seed: str, algorithm: int = BOX) -> None:
        self.name = name
        self.private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
        encoded = bytes([algorithm]) + self.private.public_key().public_bytes_raw()
        self.id = hashlib.sha256(name.encode() + b"\n" + encoded).digest()[:4]
        self.text = f"{name}+{self.id.hex()}+{b64(encoded)}"

    def sign_line(self, text: str) -> str:
        return f"— {self.name} {b64(self.id + self.private.sign(text.encode()))}\n"

    def cosign_line(self, text: str, second: int) -> str:
        signed = f"cosignature/v1\ntime {second}\n{text}".encode()
        return f"— {self.name} {b64(self.id + second.to_bytes(8, 'big') + self.private.sign(signed))}\n"


@dataclass
class Log:
    name: str
    lines: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cosigned: str | None = None
    torn: bytes = b""

    @property
    def size(self) -> int:
        """Of the last checkpoint; 0 without one."""
        return int(self.notes[-1].split("\n")[1]) if self.notes else 0


class Box:
    """A box that keeps its evidence. What is to be wrong is changed in `logs` and `keys` before `write`."""

    def __init__(self, device: str = "box-17") -> None:
        self.device = device
        self.second = 0
        self.key = Key(f"veil/{device}", f"{device} 0")
        self.logs: dict[str, Log] = {}
        self.keys = [self.key_line(None, {})]
        self.witnesses: list[Key] = []

    def now(self) -> str:
        self.second += 1
        return time_text(self.second)

    def log(self, name: str) -> Log:
        return self.logs.setdefault(name, Log(name))

    def event(self, name: str, data: dict[str, Any], /, **changed: object) -> bytes:
        """One line, not added yet."""
        log = self.log(name)
        prev = leaf_hash(log.lines[-1]).hex() if log.lines else "0" * 64
        fields = {"data": data, "kind": "tick", "log": name, "prev": prev, "seq": len(log.lines)}
        return canonical(fields | {"time": self.now()} | changed)

    def add(self, name: str, *data: dict[str, Any]) -> None:
        for each in data:
            self.log(name).lines.append(self.event(name, each))

    def fill(self, name: str, count: int) -> None:
        self.add(name, *({"n": len(self.log(name).lines) + i} for i in range(count)))

    def text(self, name: str, **changed: str) -> str:
        """The text of the checkpoint over all lines. `changed`: its lines by name, as written."""
        log = self.log(name)
        previous = hashlib.sha256(_text_of(log.notes[-1])).digest() if log.notes else bytes(32)
        parts = {
            "origin": f"veil/{self.device}/{name}",
            "size": str(len(log.lines)),
            "root": b64(root_hash([leaf_hash(line) for line in log.lines])),
            "time": f"time {self.now()}",
            "previous": f"previous {b64(previous)}",
        } | changed
        return "".join(f"{part}\n" for part in parts.values())

    def sign(self, name: str, key: Key | None = None, **changed: str) -> str:
        text = self.text(name, **changed)
        note = f"{text}\n{(key or self.key).sign_line(text)}"
        self.log(name).notes.append(note)
        return note

    def cosign(self, name: str, *witnesses: Key, second: int = 1_795_262_400) -> str:
        note = self.log(name).notes[-1]
        note += "".join(key.cosign_line(_text_of(note).decode(), second) for key in witnesses)
        self.log(name).cosigned = note
        for key in witnesses:
            if key not in self.witnesses:
                self.witnesses.append(key)
        return note

    def key_line(
        self, old: Key | None, sizes: dict[str, int], new: Key | None = None, /, **changed: object
    ) -> bytes:
        new = new or self.key
        body = {
            "device": self.device,
            "new": new.text,
            "old": old.text if old else None,
            "sizes": sizes,
            "time": self.now(),
        } | changed
        message = b"veil-key/v1\n" + canonical(body)
        return canonical(
            body
            | {
                "signed_by_new": b64(new.private.sign(message)),
                "signed_by_old": b64(old.private.sign(message)) if old else None,
            }
        )

    def rotate(self, new: Key | None = None, **changed: object) -> None:
        old, self.key = self.key, new or Key(self.key.name, f"{self.device} {len(self.keys)}")
        signed = {
            name: log.size for name, log in self.logs.items() if log.notes and _id_of(log.notes[-1]) == old.id
        }
        self.keys.append(self.key_line(old, signed, **changed))

    def write(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        write_lines(root / "keys.jsonl", self.keys)
        if self.witnesses:
            write_lines(root / "witness.vkeys", [key.text.encode() for key in self.witnesses])
        for name, log in self.logs.items():
            (root / name).mkdir(exist_ok=True)
            write_lines(root / name / "events.jsonl", log.lines, log.torn)
            write_lines(root / name / "checkpoints.jsonl", [canonical({"note": note}) for note in log.notes])
            if log.cosigned is not None:
                (root / name / "cosigned").write_bytes(log.cosigned.encode())


def write_lines(path: Path, lines: list[bytes], torn: bytes = b"") -> None:
    path.write_bytes(b"".join(line + b"\n" for line in lines) + torn)


def _text_of(note: str) -> bytes:
    return note.partition("\n\n")[0].encode() + b"\n"


def _id_of(note: str) -> bytes:
    return base64.b64decode(note.partition("\n\n")[2].partition("\n")[0].split(" ")[2])[:4]
