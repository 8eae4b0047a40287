"""Events: what a log line can say. No pixels, no positions of people, no plate text, no credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from veil.audit.canonical import MAX_INTEGER, dump

Value = str | int | None | tuple["Value", ...] | Mapping[str, "Value"]


class Kind(StrEnum):
    """The kinds of event, as written to the log."""

    CAMERA_STARTED = "camera_started"
    CAMERA_STOPPED = "camera_stopped"
    SOURCE_CONNECTED = "source_connected"
    SOURCE_LOST = "source_lost"
    SLATE_STARTED = "slate_started"
    SLATE_ENDED = "slate_ended"
    WHOLE_FRAME = "whole_frame"
    PICTURE_STATE = "picture_state"
    SEGMENT_CLOSED = "segment_closed"
    SEGMENT_RECOVERED = "segment_recovered"
    SEGMENT_SET_ASIDE = "segment_set_aside"
    SEGMENT_DELETED = "segment_deleted"
    RECORDING_PAUSED = "recording_paused"
    RECORDING_RESUMED = "recording_resumed"
    FILE_ANONYMIZED = "file_anonymized"
    LOG_REPAIRED = "log_repaired"
    CONFIG_CHANGED = "config_changed"
    BUNDLE_CHANGED = "bundle_changed"
    RECORDING_ACCESSED = "recording_accessed"
    COMMAND_DONE = "command_done"
    COMMAND_REFUSED = "command_refused"
    CLOCK_STEPPED = "clock_stepped"
    CLOCK_STATE = "clock_state"
    DISK_STATE = "disk_state"
    THERMAL_STATE = "thermal_state"
    FAULT = "fault"
    AGENT_STARTED = "agent_started"
    AGENT_STOPPED = "agent_stopped"
    KEY_CREATED = "key_created"
    KEY_ROTATED = "key_rotated"
    LOG_DAMAGED = "log_damaged"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of evidence before it has a place in a log.

    Attributes:
        data: strings and integers (below 2**53), tuples and string-keyed mappings of them; ASCII keys.
    """

    kind: Kind
    data: Mapping[str, Value]


def timestamp(wall_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def canonical_data(event: Event) -> bytes:
    """What the event says, RFC 8785.

    Raises ValueError for data that the canonical form does not allow (floats, booleans, non-ASCII keys).
    """
    return dump(_plain(event.data))


def canonical_line(log: str, sequence: int, previous: bytes, wall_ns: int, event: Event) -> bytes:
    """The log's line for `event`, RFC 8785, without the newline (docs/log-format.md).

    `previous` is the leaf hash of the line before, 32 zero bytes for the first. Raises ValueError as
    `canonical_data` does.
    """
    return line_around(canonical_data(event), event.kind, log, sequence, previous, wall_ns)


def line_around(data: bytes, kind: Kind, log: str, sequence: int, previous: bytes, wall_ns: int) -> bytes:
    """As `canonical_line`, with the data already written."""
    tail = f'"prev":"{previous.hex()}","seq":{sequence},"time":"{timestamp(wall_ns)}"'
    rest = f'"kind":"{kind}","log":"{log}",{tail}'
    return b'{"data":' + data + b"," + rest.encode() + b"}"


def _plain(value: Value) -> object:
    match value:
        case bool() | float():
            raise ValueError(f"events hold strings and integers only, not {value!r}")
        case None | str():
            return value
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValueError(f"{value} is beyond what JSON readers keep exactly")
            return value
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            if not all(isinstance(key, str) and key.isascii() for key in value):
                raise ValueError("keys of events are ASCII")
            return {str(key): _plain(item) for key, item in value.items()}
    raise ValueError(f"events cannot hold {type(value).__name__}")


def said(text: str) -> str:
    """A message fit for an event: cut to 300 characters, what is no Unicode in it replaced."""
    return text[:300].encode(errors="replace").decode()
