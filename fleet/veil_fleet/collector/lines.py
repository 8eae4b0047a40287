"""Lines of evidence on receipt: canonical, in their log, at their number, and naming the line before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from veil.audit.canonical import NotCanonicalError, parse_line
from veil.audit.tree import leaf_hash
from veil.messages.evidence import MAX_LINE_BYTES

FIRST_PREVIOUS = "0" * 64
_FIELDS = {"data", "kind", "log", "prev", "seq", "time"}
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_HASH = re.compile(r"[0-9a-f]{64}")


class BadLineError(ValueError):
    """A line that is not one of this log at this number. The text does not repeat it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is well formed by itself.

    Attributes:
        previous: leaf hash that it names, hex.
        leaf: its own leaf hash, 32 bytes.
    """

    sequence: int
    kind: str
    time: str
    previous: str
    text: str
    leaf: bytes
    data: Mapping[str, Any]


def read_line(text: str, log: str, sequence: int) -> Line:
    """Raises BadLineError."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise BadLineError("half a surrogate pair") from None
    if len(raw) > MAX_LINE_BYTES:
        raise BadLineError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        said = parse_line(raw)
    except NotCanonicalError as error:
        raise BadLineError(str(error)) from None
    if said.keys() != _FIELDS:
        raise BadLineError("not exactly the keys of an event")
    if said["log"] != log:
        raise BadLineError("of another log")
    if said["seq"] != sequence or isinstance(said["seq"], bool):
        raise BadLineError("of another number")
    kind, time, previous, data = said["kind"], said["time"], said["prev"], said["data"]
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise BadLineError("`kind` is none")
    if not isinstance(time, str) or not _TIME.fullmatch(time):
        raise BadLineError("`time` is none")
    if not isinstance(previous, str) or not _HASH.fullmatch(previous):
        raise BadLineError("`prev` is no hash")
    if not isinstance(data, dict):
        raise BadLineError("`data` is no object")
    return Line(sequence, kind, time, previous, text, leaf_hash(raw), data)


def continues(line: Line, head: bytes) -> bool:
    """Whether `line` names the line whose leaf hash is `head`; no bytes: there is none before."""
    return line.previous == (head.hex() or FIRST_PREVIOUS)
