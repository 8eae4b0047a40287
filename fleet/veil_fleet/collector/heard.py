"""What came in, taken apart: pure, and never an exception whatever the payload is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from veil.errors import MessageError
from veil.messages.evidence import CheckpointNote, Keys, LogEntries
from veil.messages.health import CameraState, Health, Status
from veil.messages.topics import Kind, Topic

Body = Status | Health | Keys | CameraState | LogEntries | CheckpointNote

WIRE: Mapping[Kind, type[Body]] = {
    Kind.STATUS: Status,
    Kind.HEALTH: Health,
    Kind.KEYS: Keys,
    Kind.CAMERA: CameraState,
    Kind.LOG: LogEntries,
    Kind.CHECKPOINT: CheckpointNote,
}
"""What the collector takes. Responses go to whoever sent the command."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message as the broker gave it.

    Attributes:
        retained: it was kept by the broker and given because we subscribed: it may be old.
        expires_s: what the broker says is left of its life; None where it has no end.
        received_ms: our wall clock.
        packet: its identifier for the acknowledgement; 0 where none is due.
    """

    topic: str
    payload: bytes
    retained: bool
    expires_s: int | None
    received_ms: int
    packet: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that is what its topic says."""

    device: str
    body: Body
    source: Received


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is not. `text` repeats nothing of it."""

    device: str
    log: str
    text: str


def hear(received: Received) -> Heard | Refused | None:
    """None for what is nobody's topic."""
    topic = Topic.parse(received.topic)
    if topic is None or topic.kind not in WIRE:
        return None
    try:
        body: Body = WIRE[topic.kind].decode(received.payload)
    except MessageError as error:
        return Refused(topic.device, topic.name, f"On {topic.kind}: {error.message}")
    match body:
        case Status() | Health():
            named, expected = body.device, topic.device
        case LogEntries() | CheckpointNote():
            named, expected = body.log, topic.name
        case CameraState():
            named, expected = body.camera, topic.name
        case Keys():
            named = expected = ""
    if named != expected:
        return Refused(topic.device, topic.name, f"On {topic.kind}: it is said to be of {named}.")
    return Heard(topic.device, body, received)
