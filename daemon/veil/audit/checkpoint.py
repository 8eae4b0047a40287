"""Checkpoints: a log's signed tree head (c2sp.org/tlog-checkpoint), with its time and its predecessor."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from veil.audit.forms import is_time
from veil.audit.note import Note, SigningKey, decode_base64, sign_note
from veil.audit.tree import HASH_BYTES
from veil.errors import NoteError

FIRST_PREVIOUS = bytes(HASH_BYTES)
"""`previous` of a log's first checkpoint."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


def origin_of(device: str, log: str) -> str:
    """The first line of a log's checkpoints."""
    return f"veil/{device}/{log}"


def key_name_of(device: str) -> str:
    """The name of a box's signing key; it signs all logs of the box."""
    return f"veil/{device}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a box says of one log at one moment.

    Attributes:
        origin: see `origin_of`.
        size: number of lines.
        root: the tree's hash, 32 bytes.
        time: RFC 3339, UTC, microseconds: the box's wall clock at signing.
        previous: SHA-256 of the text of the checkpoint before it, `FIRST_PREVIOUS` for the first.
    """

    origin: str
    size: int
    root: bytes
    time: str
    previous: bytes

    def text(self) -> str:
        """Five lines: origin, size, root, and the extension lines `time` and `previous`."""
        root, previous = (base64.b64encode(value).decode() for value in (self.root, self.previous))
        return f"{self.origin}\n{self.size}\n{root}\ntime {self.time}\nprevious {previous}\n"

    def digest(self) -> bytes:
        """What the next checkpoint has as `previous`."""
        return hashlib.sha256(self.text().encode()).digest()

    def sign(self, key: SigningKey) -> Note:
        return sign_note(self.text(), key)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From a note's text. Raises NoteError for whatever `text()` would not write."""
        lines = text.split("\n")
        if len(lines) != 6 or lines[5]:
            raise NoteError("A checkpoint has five lines.")
        origin, size, root, time, previous = lines[:5]
        if not origin or not _SIZE.fullmatch(size):
            raise NoteError("A checkpoint begins with its origin and the log's size.")
        if not time.startswith("time ") or not is_time(time[5:]):
            raise NoteError("A checkpoint's fourth line is its time.")
        if not previous.startswith("previous "):
            raise NoteError("A checkpoint's fifth line names the checkpoint before it.")
        try:
            hashes = decode_base64(root), decode_base64(previous[9:])
        except ValueError as error:
            raise NoteError("A checkpoint's hashes are base64.") from error
        if any(len(value) != HASH_BYTES for value in hashes):
            raise NoteError(f"A checkpoint's hashes have {HASH_BYTES} bytes.")
        return cls(origin, int(size), hashes[0], time[5:], hashes[1])
