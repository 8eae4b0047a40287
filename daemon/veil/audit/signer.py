"""Follows a log that another process appends to, and signs its heads."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from veil.audit import writer_lock
from veil.audit.blocks import BLOCK_LINES, ENTRY_BYTES, Blocks
from veil.audit.canonical import MAX_LINE_BYTES, NotCanonicalError, parse_line
from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, origin_of
from veil.audit.durable import replace_file
from veil.audit.event import timestamp
from veil.audit.fields import fault_in
from veil.audit.heads import Heads
from veil.audit.lines import Lines, LineTooLongError, piece
from veil.audit.log import CHECKPOINTS_FILE, EVENTS_FILE
from veil.audit.note import Note, SigningKey, VerifierKey
from veil.audit.proofs import consistency_proof, inclusion_proof
from veil.audit.tree import HASH_BYTES, leaf_hash
from veil.domain.clock import Clock
from veil.errors import EvidenceError, LogError, NoteError

INDEX_FILE = "tree.index"
COSIGNED_FILE = "cosigned"
MAX_FOLLOWED = 256
_WRITER_PATIENCE_S = 0.25


class LogSigner:
    """One log: what is new in it, its signed heads, its proofs. A context manager; not thread-safe.

    A log that shrank, was replaced, or does not fit what was signed raises EvidenceError, from then on
    always: somebody changed it. The caller says so and goes on with its other logs. A disk that fails is a
    LogError; the same call may succeed later.

    Args:
        folder: of the log; holds `events.jsonl` (which may not be there yet), takes `checkpoints.jsonl`,
            `cosigned` and `tree.index` (a cache, held against the last checkpoint before it is used).
        log: its name.
    """

    def __init__(self, folder: Path, log: str, device: str, clock: Clock) -> None:
        self._folder = folder
        self._log = log
        self._origin = origin_of(device, log)
        self._clock = clock
        self._events: int | None = None
        self._index: int | None = None
        self._changed = ""
        self._heads = Heads(folder / CHECKPOINTS_FILE)
        try:
            self._check_newest()
            self._restore()
        except OSError as error:
            self.close()
            raise self._failed(error) from error
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self._log

    @property
    def size(self) -> int:
        """How many lines were followed."""
        return self._blocks.size

    @property
    def signed_size(self) -> int:
        """Of the newest checkpoint; 0 without one."""
        return 0 if self._heads.newest is None else self._heads.newest[1].size

    @property
    def newest(self) -> Note | None:
        """The newest checkpoint."""
        return None if self._heads.newest is None else self._heads.newest[0]

    def checkpoint_from(self, size: int) -> tuple[int, Note] | None:
        """The first over at least `size` lines, and over how many it is. Raises EvidenceError, LogError."""
        try:
            found = self._heads.first_from(size)
        except OSError as error:
            raise self._failed(error) from error
        return None if found is None else (found[1].size, found[0])

    def follow(self, limit: int = MAX_FOLLOWED) -> list[tuple[int, str]]:
        """Sequence numbers and lines that are new and durable, at most `limit`; after a start, those that are
        not signed yet come again. Raises EvidenceError, LogError."""
        if self._changed:
            raise EvidenceError(self._changed)
        try:
            return self._follow(limit)
        except OSError as error:
            raise self._failed(error) from error

    def sign(self, key: SigningKey) -> Note | None:
        """A checkpoint of all lines that were followed, durable before it is returned; None with nothing new.

        Raises LogError where the disk does not take it; then there is no such checkpoint.
        """
        if self._changed:
            raise EvidenceError(self._changed)
        if self.size == self.signed_size:
            return None
        before = self._heads.newest
        checkpoint = Checkpoint(
            self._origin,
            self.size,
            self._blocks.frontier.root(),
            timestamp(self._clock.wall_ns()),
            FIRST_PREVIOUS if before is None else before[1].digest(),
        )
        note = checkpoint.sign(key)
        self._heads.append(note, checkpoint)
        return note

    def lines(self, first: int, count: int) -> list[str]:
        """The lines `first`..`first + count - 1`, as far as they were followed.

        Raises EvidenceError where they are no longer there, LogError.
        """
        end = min(first + max(count, 0), self.size)
        if not 0 <= first < end:
            return []
        try:
            read = self._read(first, end)
            if len(read) == end - first and self._sequence(read[0]) != first:
                self._rebuild(self.signed_size)
                read = self._read(first, end)
        except OSError as error:
            raise self._failed(error) from error
        if len(read) != end - first or self._sequence(read[0]) != first:
            raise EvidenceError(f"The log {self._log} no longer holds the lines from {first} on.")
        return [line.decode() for line in read]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """That line `index` is in the tree of `size` lines. Raises ValueError, EvidenceError, LogError."""
        if size > self.size:
            raise ValueError(f"{size} lines were not followed")
        return inclusion_proof(index, size, self._range_root)

    def consistency_proof(self, old_size: int, size: int) -> list[bytes]:
        """That the tree of `size` lines goes on from `old_size`. Raises as `inclusion_proof` does."""
        if size > self.size:
            raise ValueError(f"{size} lines were not followed")
        return consistency_proof(old_size, size, self._range_root)

    def store_cosigned(self, note: Note, witness_keys: Sequence[VerifierKey]) -> None:
        """Keeps a cosigned checkpoint, unless a larger one is kept.

        Raises NoteError unless it is one of ours with valid signatures of `witness_keys` besides, and of no
        one else; LogError where the disk does not take it.
        """
        cosigned = Checkpoint.parse(note.text)
        known = {(key.name, key.id): key for key in witness_keys}
        if len(note.signatures) < 2:
            raise NoteError("The note has no cosignature.")
        for signature in note.signatures[1:]:
            key = known.get((signature.name, signature.key_id))
            if key is None:
                raise NoteError(f"No trusted witness is called {signature.name}.")
            Note(note.text, (signature,)).verify_cosignature(key)
        if cosigned.origin != self._origin or not self._heads.holds(note):
            raise NoteError("The cosigned note is no checkpoint of this log.")
        path = self._folder / COSIGNED_FILE
        try:
            if cosigned.size >= _size_of(path):
                replace_file(path, note.encode().encode(), 0o640)
        except OSError as error:
            raise self._failed(error) from error

    def _check_newest(self) -> None:
        if self._heads.newest is not None and self._heads.newest[1].origin != self._origin:
            found = self._heads.newest[1].origin
            raise EvidenceError(f"{self._folder} holds checkpoints of {found}, not of {self._origin}.")
        if _size_of(self._folder / COSIGNED_FILE) > self.signed_size:
            raise EvidenceError(
                f"The log {self._log} has a cosigned checkpoint that is larger than its last one: "
                "it was set back to an older state."
            )

    def _restore(self) -> None:
        """Goes on from the last checkpoint: with the index where that fits, otherwise by reading the log."""
        path, size = self._folder / INDEX_FILE, self.signed_size
        most = size // BLOCK_LINES
        entries = b""
        if path.exists():
            with path.open("rb") as file:
                entries = file.read(most * ENTRY_BYTES)
        self._index = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._blocks = Blocks.decode(entries, most)
        self._offset, self._previous = 0, bytes(HASH_BYTES)
        self._open_events()
        if size == 0:
            self._cut_index()
            return
        if self._blocks.complete < most or not self._fits(size):
            self._rebuild(size)
            if self._blocks.size < size:
                self._give_up(f"The log {self._log} has fewer lines than the {size} that were signed.")
            if not self._is_signed_root():
                self._give_up(f"The first {size} lines of log {self._log} are not those that were signed.")
        self._cut_index()

    def _fits(self, size: int) -> bool:
        """Reads what the index leaves open; whether the last checkpoint then has this root."""
        # The last block once more: its last line's hash is what the next line names.
        last = self._blocks.complete - 1
        try:
            leaves = self._read_block(last) if last >= 0 else []
        except EvidenceError:
            return False
        self._previous = leaves[-1] if leaves else bytes(HASH_BYTES)
        self._offset = self._blocks.start_of(last + 1)
        self._take_leaves(size)
        return self._blocks.size == size and self._is_signed_root()

    def _rebuild(self, size: int) -> None:
        """The tree of the first `size` lines, from the lines; what was followed behind them is read again."""
        followed = self._blocks.size
        self._blocks = Blocks()
        self._offset, self._previous = 0, bytes(HASH_BYTES)
        self._cut_index()
        self._take_leaves(max(size, followed))

    def _cut_index(self) -> None:
        if self._index is not None:
            os.ftruncate(self._index, self._blocks.complete * ENTRY_BYTES)

    def _is_signed_root(self) -> bool:
        newest = self._heads.newest
        return newest is not None and newest[1].root == self._blocks.frontier.root()

    def _take_leaves(self, size: int) -> None:
        if self._events is None or self._blocks.size >= size:
            return
        try:
            for line in Lines(piece(self._events, self._offset)):
                self._take(line)
                if self._blocks.size == size:
                    break
        except LineTooLongError:
            return

    def _take(self, line: bytes) -> None:
        self._previous = leaf_hash(line)
        self._offset += len(line) + 1
        entry = self._blocks.append(self._previous, self._offset)
        if entry is not None and self._index is not None:
            # Not waited for, not insisted on: an index that lacks entries is made again.
            with suppress(OSError):
                os.pwrite(self._index, entry, (self._blocks.complete - 1) * ENTRY_BYTES)

    def _follow(self, limit: int) -> list[tuple[int, str]]:
        self._open_events()
        if self._events is None:
            return []
        self._check_same_file(self._events)
        end = self._settled_end(self._events)
        if end is None or end == self._offset:
            return []
        if end < self._offset:
            self._give_up(f"The log {self._log} has become shorter than what was read of it.")
        # Cameras wait for the disk too; a line that a killed one left must not be signed before it is safe.
        os.fdatasync(self._events)
        found: list[tuple[int, str]] = []
        try:
            for line in Lines(piece(self._events, self._offset, end)):
                if not self._is_event(line):
                    break
                found.append((self._blocks.size, line.decode()))
                self._take(line)
                if len(found) >= limit:
                    break
        except LineTooLongError:
            if not writer_lock.is_taken(self._events):
                return found
            self._give_up(f"Line {self._blocks.size + 1} of log {self._log} is longer than lines are.")
        except (EvidenceError, OSError):
            # What was read before is good, and nobody will read it again.
            if not found:
                raise
        return found

    def _is_event(self, line: bytes) -> bool:
        """Raises EvidenceError where the line should not be there; False for what its camera is to repair."""
        where = f"Line {self._blocks.size + 1} of log {self._log}"
        try:
            event = parse_line(line)
        except NotCanonicalError as error:
            if self._events is not None and not writer_lock.is_taken(self._events):
                # What a power cut left: the camera cuts it off when it opens its log.
                return False
            self._give_up(f"{where} is no event: {error}.")
        if fault := fault_in(event):
            self._give_up(f"{where} is no event: {fault}.")
        if event["seq"] != self._blocks.size or event["log"] != self._log:
            self._give_up(f"{where} is of another place: log {event['log'][:40]!r}, seq {event['seq']}.")
        if event["prev"] != self._previous.hex():
            self._give_up(f"{where} does not fit the line before it.")
        return True

    def _settled_end(self, descriptor: int) -> int | None:
        """The file's size while nobody writes: its lines will not be taken back. None if it never rests."""
        until = time.monotonic() + _WRITER_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return None
                time.sleep(0.0002)
                continue
            try:
                return os.fstat(descriptor).st_size
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _open_events(self) -> None:
        if self._events is None:
            try:
                self._events = os.open(self._folder / EVENTS_FILE, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                if self.signed_size:
                    self._give_up(
                        f"The log {self._log} is gone; {self.signed_size} of its lines were signed."
                    )

    def _check_same_file(self, descriptor: int) -> None:
        try:
            there = (self._folder / EVENTS_FILE).stat()
        except FileNotFoundError:
            self._give_up(f"The log {self._log} is gone.")
        if not os.path.samestat(there, os.fstat(descriptor)):
            self._give_up(f"The log {self._log} was replaced by another file.")

    def _read(self, first: int, end: int) -> list[bytes]:
        """Lines `first`..`end - 1`, fewer where the file has no more."""
        if self._events is None:
            return []
        block, skipped = divmod(first, BLOCK_LINES)
        read: list[bytes] = []
        try:
            for number, line in enumerate(Lines(piece(self._events, self._blocks.start_of(block)))):
                if number >= skipped + end - first:
                    break
                if number >= skipped:
                    read.append(line)
        except LineTooLongError:
            pass
        return read

    def _read_block(self, block: int) -> list[bytes]:
        read = self._read(block * BLOCK_LINES, (block + 1) * BLOCK_LINES)
        if len(read) != BLOCK_LINES:
            raise EvidenceError(
                f"The log {self._log} no longer holds the lines from {block * BLOCK_LINES} on."
            )
        return [leaf_hash(line) for line in read]

    def _range_root(self, first: int, end: int) -> bytes:
        try:
            return self._blocks.range_root(first, end, self._read_block)
        except OSError as error:
            raise self._failed(error) from error

    @staticmethod
    def _sequence(line: bytes) -> Any:
        try:
            return parse_line(line).get("seq")
        except NotCanonicalError:
            return None

    def _give_up(self, message: str) -> NoReturn:
        self._changed = message
        raise EvidenceError(
            message, hint="Keep the folder as evidence; compare it with the fleet manager's copy."
        )

    def _failed(self, error: OSError) -> LogError:
        return LogError(
            f"The log {self._log} cannot be followed: {error.strerror}.",
            hint="Check the disk, and that the agent may read and write the log's folder.",
        )

    def close(self) -> None:
        self._heads.close()
        if self._events is not None:
            os.close(self._events)
        if self._index is not None:
            os.close(self._index)

    def __enter__(self) -> LogSigner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _size_of(path: Path) -> int:
    """Of the checkpoint that is kept there; 0 without one that can be read."""
    try:
        with path.open("rb") as file:
            return Checkpoint.parse(Note.parse(file.read(MAX_LINE_BYTES).decode()).text).size
    except (FileNotFoundError, ValueError, NoteError):
        return 0
