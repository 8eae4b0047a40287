"""Verifies checkpoints.jsonl, line by line, against the box's keys; and single notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from veil.audit.canonical import NotCanonicalError
from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, origin_of
from veil.audit.evidence_files import opened
from veil.audit.findings import Found, fail
from veil.audit.heads import parse_head
from veil.audit.keyring import Keyring
from veil.audit.lines import Lines, LineTooLongError
from veil.audit.note import Note, Signature, VerifierKey
from veil.errors import NoteError


@dataclass(frozen=True, slots=True)
class Keys:
    """Who may sign.

    Attributes:
        broken: keys.jsonl had a finding; keys behind it are not known, rotations are not held against logs.
    """

    ring: Keyring
    witnesses: tuple[VerifierKey, ...]
    broken: bool


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint whose signatures hold, with its line's number."""

    line: int
    note: Note
    checkpoint: Checkpoint


def read_note(text: str) -> tuple[Note, Checkpoint]:
    """Raises Found."""
    try:
        note = Note.parse(text)
        return note, Checkpoint.parse(note.text)
    except NoteError as error:
        raise Found("bad_checkpoint", error.message) from None


def check_signed(note: Note, checkpoint: Checkpoint, log: str, keys: Keys) -> int | None:
    """The number of the record whose key made the first signature; None where the keys are broken.

    Raises Found: origin, key or signature.
    """
    if keys.ring.records and checkpoint.origin != origin_of(keys.ring.device, log):
        raise Found("wrong_origin", f"the origin is not {origin_of(keys.ring.device, log)}")
    signature = note.signatures[0]
    number = keys.ring.index(signature.name, signature.key_id)
    if number is None:
        if keys.broken:
            return None
        raise Found("unknown_key", "signed with a key that is not in keys.jsonl")
    if not keys.ring.records[number].new.verify(signature.payload, note.text.encode()):
        raise Found("bad_signature", "the signature does not verify")
    return number


def check_witnesses(note: Note, signatures: tuple[Signature, ...], keys: Keys) -> None:
    """Raises Found unless each signature is of a known witness and holds."""
    for signature in signatures:
        named = [key for key in keys.witnesses if (key.name, key.id) == (signature.name, signature.key_id)]
        if not named:
            fail("unknown_key", "cosigned with a key that is not in witness.vkeys")
        if not any(_cosigned(note, signature, key) for key in named):
            fail("bad_signature", "the cosignature does not verify")


def _cosigned(note: Note, signature: Signature, key: VerifierKey) -> bool:
    try:
        Note(note.text, (signature,)).verify_cosignature(key)
    except NoteError:
        return False
    return True


class HeadReader:
    """Iterates over the checkpoints of one log as far as they hold; then `found` says what does not.

    Attributes:
        line: of the last line read.
        found: the first finding.
        witnessed: the file is a witness's copy.
    """

    def __init__(self, path: Path, log: str, keys: Keys) -> None:
        self._path = path
        self._log = log
        self._keys = keys
        self._size = 0
        self._previous = FIRST_PREVIOUS
        self._record = 0
        self._last_sizes: dict[int, int] = {}
        self.line = 0
        self.found: Found | None = None
        self.witnessed = False

    def __iter__(self) -> Iterator[Head]:
        try:
            with opened(self._path) as file:
                lines = Lines(file)
                for line in lines:
                    self.line += 1
                    yield self._check(line)
                if lines.torn:
                    self.line += 1
                    fail("not_canonical", "the last line does not end")
            self._check_rotations()
        except LineTooLongError:
            self.line += 1
            self.found = Found("not_canonical", "a line that is too long")
        except Found as found:
            self.found = found

    def _check(self, line: bytes) -> Head:
        try:
            note, checkpoint = parse_head(line)
        except NotCanonicalError as error:
            raise Found("not_canonical", str(error)) from None
        except KeyError:
            raise Found("bad_field", "a line has exactly the key `note`, a string") from None
        except NoteError as error:
            raise Found("bad_checkpoint", error.message) from None
        if self.line == 1:
            self.witnessed = len(note.signatures) > 1
        if (len(note.signatures) > 1) != self.witnessed:
            fail("bad_checkpoint", "some notes are cosigned and some are not")
        number = check_signed(note, checkpoint, self._log, self._keys)
        if number is not None:
            self._check_retired(number, checkpoint.size)
        check_witnesses(note, note.signatures[1:], self._keys)
        if checkpoint.size <= self._size:
            fail("checkpoint_order", f"the size {checkpoint.size} is not over {self._size}")
        if checkpoint.previous != self._previous and not self.witnessed:
            fail("checkpoint_order", "`previous` is not the checkpoint before")
        if number is not None:
            self._last_sizes[number] = checkpoint.size
        self._size, self._previous = checkpoint.size, checkpoint.digest()
        return Head(self.line, note, checkpoint)

    def _check_retired(self, number: int, size: int) -> None:
        if number < self._record:
            fail("retired_key", "signed with a key that a later one had followed")
        self._record = number
        last = None if self._keys.broken else self._keys.ring.last_size(number, self._log)
        if last is not None and size > last:
            fail("retired_key", f"the key was rotated away at size {last}")

    def _check_rotations(self) -> None:
        """Each key that was rotated away ended here where its record says."""
        if self._keys.broken or self.witnessed:
            return
        for number in range(len(self._keys.ring.records) - 1):
            last = self._keys.ring.last_size(number, self._log) or 0
            if self._last_sizes.get(number, 0) != last:
                fail("retired_key", f"the last checkpoint under a rotated key is not of size {last}")
