"""checkpoints.jsonl of one log, as its signer keeps it: appended durably, a torn tail cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from veil.audit.canonical import MAX_LINE_BYTES, NotCanonicalError, dump, parse_line
from veil.audit.checkpoint import Checkpoint
from veil.audit.durable import write_all
from veil.audit.note import Note, VerifierKey
from veil.audit.tail import last_line, whole_bytes
from veil.errors import EvidenceError, LogError, NoteError
from veil.host.disk import sync_directory

_KEEP = "Keep the folder as evidence and compare it with the fleet manager's copy."


def parse_head(line: bytes) -> tuple[Note, Checkpoint]:
    """A line of checkpoints.jsonl; its signature is not looked at.

    Raises NotCanonicalError, KeyError for an object with other keys, NoteError.
    """
    said = parse_line(line)
    if said.keys() != {"note"} or not isinstance(said["note"], str):
        raise KeyError("note")
    note = Note.parse(said["note"])
    return note, Checkpoint.parse(note.text)


class Heads:
    """The file, open for appending. Raises EvidenceError where its last line is none, LogError for the disk.

    Attributes:
        newest: the last line; None in an empty file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.newest: tuple[Note, Checkpoint] | None = None
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._open()
        except OSError as error:
            os.close(self._file)
            raise self._failed(error) from error
        except BaseException:
            os.close(self._file)
            raise

    def _open(self) -> None:
        end = os.fstat(self._file).st_size
        self._size = whole_bytes(self._file, end)
        if self._size < end:
            # The power went while it was written: nobody was told of this checkpoint.
            os.ftruncate(self._file, self._size)
        # Written by a process that may have been killed before it waited for the disk.
        os.fdatasync(self._file)
        sync_directory(self._path.parent)
        if self._size:
            line = last_line(self._file, self._size, MAX_LINE_BYTES)
            try:
                self.newest = parse_head(line or b"")
            except (NotCanonicalError, KeyError, NoteError) as error:
                raise EvidenceError(f"{self._path}: the last line is no checkpoint.", hint=_KEEP) from error

    def append(self, note: Note, checkpoint: Checkpoint) -> None:
        """Durable when it returns; after a LogError the checkpoint is not in the file."""
        line = dump({"note": note.encode()}) + b"\n"
        try:
            # What a failed append may have left.
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            write_all(self._file, line)
            os.fdatasync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise self._failed(error) from error
        self._size += len(line)
        self.newest = note, checkpoint

    def holds(self, note: Note) -> bool:
        """Whether text and first signature are those of a line."""
        size = Checkpoint.parse(note.text).size
        for found, checkpoint in self._backwards():
            if checkpoint.size <= size:
                return found.text == note.text and found.signatures == note.signatures[:1]
        return False

    def last_under(self, key: VerifierKey) -> int | None:
        """The size of the last checkpoint that names `key` as its signer; None without one."""
        for note, checkpoint in self._backwards():
            if note.signature_of(key) is not None:
                return checkpoint.size
        return None

    def first_from(self, size: int) -> tuple[Note, Checkpoint] | None:
        """The first line whose size is not below `size`; None without one. Reads few lines: sizes grow."""
        found = None
        low, high = 0, self._size
        while low < high:
            start = whole_bytes(self._file, (low + high) // 2)
            line, newline, _ = os.pread(self._file, MAX_LINE_BYTES + 1, start).partition(b"\n")
            try:
                note, checkpoint = parse_head(line if newline else b"")
            except (NotCanonicalError, KeyError, NoteError) as error:
                raise EvidenceError(f"{self._path}: a line is no checkpoint.", hint=_KEEP) from error
            if checkpoint.size < size:
                low = start + len(line) + 1
            else:
                high, found = start, (note, checkpoint)
        return found

    def _backwards(self) -> Iterator[tuple[Note, Checkpoint]]:
        end = self._size
        while (line := last_line(self._file, end, MAX_LINE_BYTES)) is not None:
            try:
                yield parse_head(line)
            except (NotCanonicalError, KeyError, NoteError) as error:
                raise EvidenceError(f"{self._path}: a line is no checkpoint.", hint=_KEEP) from error
            end -= len(line) + 1

    def _failed(self, error: OSError) -> LogError:
        return LogError(
            f"The checkpoints {self._path} cannot be written: {error.strerror}.",
            hint="Free space, or check that the folder can be written by the agent.",
        )

    def close(self) -> None:
        os.close(self._file)


def sizes_under(folder: Path, key: VerifierKey) -> dict[str, int]:
    """What `KeyStore.rotate` needs: of each log in `folder` with checkpoints of `key`, the last one's size.

    Torn tails are repaired on the way. Raises EvidenceError, LogError.
    """
    sizes = {}
    for path in sorted(folder.glob("*/checkpoints.jsonl")):
        if not path.with_name("events.jsonl").exists():
            continue
        heads = Heads(path)
        try:
            size = heads.last_under(key)
        finally:
            heads.close()
        if size is not None:
            sizes[path.parent.name] = size
    return sizes
