"""An honest box in memory: its logs, its keys, its checkpoints, and the messages that it would send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, key_name_of, origin_of
from veil.audit.event import Event, Kind, Value, canonical_line, timestamp
from veil.audit.keyring import KeyRecord
from veil.audit.note import Note, SigningKey
from veil.audit.tree import Frontier, leaf_hash
from veil.messages.evidence import CheckpointNote, Keys, LogEntries
from veil.messages.health import Status
from veil.messages.topics import Kind as TopicKind
from veil.messages.topics import Topic
from veil_fleet.collector.heard import Received

START_NS = 1_790_000_000_000_000_000
SHA = "ab" * 32


def segment(number: int, camera: str = "front") -> Event:
    """A recording of half a minute was closed."""
    first_us = START_NS // 1000 + number * 30_000_000
    data: dict[str, Value] = {
        "file": f"{camera}-20260921T142640.000Z-{number:06d}.mp4",
        "sha256": f"{number:064x}",
        "bytes": 3_000_000 + number,
        "number": number,
        "first_wall_us": first_us,
        "last_wall_us": first_us + 30_000_000,
        "duration_us": 30_000_000,
        "frames_masked": 400,
        "frames_whole": 30,
        "frames_slate": 20,
        "frames_dropped": 0,
        "end": "length",
    }
    return Event(Kind.SEGMENT_CLOSED, data)


class Log:
    """One log of a box."""

    def __init__(self, device: str, name: str) -> None:
        self.device = device
        self.name = name
        self.lines: list[str] = []
        self.tree = Frontier()
        self.previous = FIRST_PREVIOUS
        self._head = bytes(32)

    def append(self, event: Event) -> str:
        size = len(self.lines)
        line = canonical_line(self.name, size, self._head, START_NS + size * 1_000_000, event)
        self._head = leaf_hash(line)
        self.tree.append(self._head)
        self.lines.append(line.decode())
        return self.lines[-1]

    def sign(self, key: SigningKey) -> Note:
        checkpoint = Checkpoint(
            origin_of(self.device, self.name),
            self.tree.size,
            self.tree.root(),
            timestamp(START_NS + self.tree.size * 1_000_000),
            self.previous,
        )
        self.previous = checkpoint.digest()
        return checkpoint.sign(key)


class Box:
    """Its messages as the collector receives them, at `now_ms`, which the test moves on."""

    def __init__(self, name: str = "box-1") -> None:
        self.name = name
        self.key = SigningKey.generate(key_name_of(name))
        self.records = [KeyRecord.make(name, self.key, None, {}, timestamp(START_NS)).line().decode()]
        self.logs: dict[str, Log] = {}
        self.now_ms = START_NS // 1_000_000

    def log(self, name: str = "front") -> Log:
        return self.logs.setdefault(name, Log(self.name, name))

    def rotate(self, sizes: Mapping[str, int]) -> None:
        fresh = SigningKey.generate(key_name_of(self.name))
        record = KeyRecord.make(self.name, fresh, self.key, sizes, timestamp(START_NS))
        self.records.append(record.line().decode())
        self.key = fresh

    def received(
        self,
        kind: TopicKind,
        name: str,
        payload: bytes,
        *,
        retained: bool = False,
        expires_s: int | None = None,
    ) -> Received:
        topic = str(Topic(self.name, kind, name))
        return Received(topic, payload, retained, expires_s, self.now_ms, 1)

    def keys(self, records: Sequence[str] | None = None) -> Received:
        message = Keys(records=tuple(self.records if records is None else records))
        return self.received(TopicKind.KEYS, "", message.encode())

    def entries(self, first: int = 0, end: int | None = None, name: str = "front") -> Received:
        lines = tuple(self.log(name).lines[first:end])
        message = LogEntries(log=name, first=first, lines=lines)
        return self.received(TopicKind.LOG, name, message.encode())

    def raw_entries(self, first: int, lines: Sequence[str], name: str = "front") -> Received:
        message = LogEntries(log=name, first=first, lines=tuple(lines))
        return self.received(TopicKind.LOG, name, message.encode())

    def checkpoint(self, name: str = "front", note: Note | None = None) -> Received:
        note = note or self.log(name).sign(self.key)
        message = CheckpointNote(log=name, note=note.encode())
        return self.received(TopicKind.CHECKPOINT, name, message.encode())

    def status(
        self,
        state: str = "online",
        reason: str | None = None,
        *,
        retained: bool = False,
        expires_s: int | None = 45,
    ) -> Received:
        message = Status.model_validate(
            {
                "device": self.name,
                "state": state,
                "reason": reason,
                "session": "0123456789abcdef",
                "since": timestamp(START_NS),
                "version": "1.0.0",
                "site": "gate",
                "cameras": tuple(self.logs),
            }
        )
        return self.received(TopicKind.STATUS, "", message.encode(), retained=retained, expires_s=expires_s)
