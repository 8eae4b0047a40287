"""The append-only log of one camera: one canonical JSON object a line, durable before `append` returns."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from veil.audit import writer_lock
from veil.audit.canonical import MAX_LINE_BYTES, NotCanonicalError, parse_line
from veil.audit.event import Event, Kind, canonical_data, line_around, said
from veil.audit.forms import LOG_NAME
from veil.audit.tail import last_line, whole_bytes
from veil.audit.tree import HASH_BYTES, leaf_hash
from veil.domain.clock import Clock
from veil.errors import LogError
from veil.host.disk import sync_directory

EVENTS_FILE = "events.jsonl"
CHECKPOINTS_FILE = "checkpoints.jsonl"
RESERVE_BYTES = 1 << 20
MAX_BATCH_LINES = 64
_READER_PATIENCE_S = 0.1


class EventSink(Protocol):
    """Where stages send their evidence."""

    def append(self, event: Event) -> int:
        """Makes the event durable and returns its sequence number; raises LogError where it cannot."""
        ...


def note_fault(log: EventSink, text: str) -> None:
    """An error that a stage answered by hiding or dropping; the text may come from a native library."""
    log.append(Event(Kind.FAULT, {"text": said(text)}))


class Unlogged:
    """Takes events and keeps none: for a file anonymized without `--evidence`."""

    def __init__(self) -> None:
        self._next = 0

    def append(self, event: Event) -> int:
        del event
        self._next += 1
        return self._next - 1


@dataclass(slots=True, eq=False)
class _Waiting:
    """An event whose thread waits for the disk; then it has a sequence number or an error."""

    data: bytes
    kind: Kind
    sequence: int = -1
    error: BaseException | None = None


class EventLog:
    """A file with a reserve of disk space beside it, so that "disk full" can still be logged.

    Threads that append at the same time share one wait for the disk. A torn last line (power cut) is cut off
    when the log is opened, and the repair is an event of its own. One process has a log open at a time (the
    file is locked); others may follow it (see `LogSigner`). Raises LogError for a log that cannot be opened.

    Args:
        path: made if missing, mode 0640. An `events.jsonl` gets its folder (0770: the agent, another user of
            the group, writes the checkpoints) and an empty `checkpoints.jsonl` beside it.
        name: the log's name, repeated in each line.
        reserve_bytes: 0 for none.
    """

    def __init__(self, path: Path, name: str, clock: Clock, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        if not LOG_NAME.fullmatch(name):
            raise LogError(f"{name!r} is no name of a log.", hint="Use a-z, 0-9, - and _, 32 at most.")
        self._name = name
        self._clock = clock
        self._lock = threading.Condition()
        self._queue: list[_Waiting] = []
        self._writing = False
        self._closed = False
        self._left_over = False
        self._next, self._size, self._previous = 0, 0, bytes(HASH_BYTES)
        self._path = path
        self._reserve = path.with_name(f"{path.name}.reserve")
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if path.name == EVENTS_FILE:
                _make_room_for_checkpoints(path.parent)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise self._error("opened", error) from error
        try:
            writer_lock.take(self._file)
            repair = self._recover()
            if reserve_bytes:
                self._reserve_space(reserve_bytes)
            sync_directory(path.parent)
            if repair is not None:
                self.append(repair)
        except OSError as error:
            os.close(self._file)
            raise self._error("opened", error) from error
        except BaseException:
            os.close(self._file)
            raise

    @property
    def path(self) -> Path:
        return self._path

    @property
    def next_sequence(self) -> int:
        return self._next

    def append(self, event: Event) -> int:
        """Durable when it returns. After a LogError the line is not in the log, and the log stays usable.

        Raises ValueError for data that is no evidence (see `canonical_data`).
        """
        mine = _Waiting(canonical_data(event), event.kind)
        if len(mine.data) > MAX_LINE_BYTES - 512:
            raise LogError(
                f"An event ({event.kind}) of {len(mine.data)} bytes does not fit a line of the log."
            )
        with self._lock:
            self._queue.append(mine)
            while mine.sequence < 0 and mine.error is None:
                if self._writing:
                    self._lock.wait()
                else:
                    self._write_queue()
        if mine.error is not None:
            raise mine.error
        return mine.sequence

    def _write_queue(self) -> None:
        """Writes what waits, for all threads, with the lock let go meanwhile."""
        batch, self._queue = self._queue[:MAX_BATCH_LINES], self._queue[MAX_BATCH_LINES:]
        if self._closed:
            # A thread that was left behind must not write to what has the descriptor's number now.
            for waiting in batch:
                waiting.error = LogError(f"The evidence log {self._path} is closed.")
            return
        self._writing = True
        self._lock.release()
        error: BaseException | None = None
        try:
            self._write_batch(batch)
        except OSError as failure:
            error = failure
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._lock.acquire()
            self._writing = False
            for offset, waiting in enumerate(batch):
                if error is None:
                    waiting.sequence = self._next - len(batch) + offset
                else:
                    waiting.error = self._failure(error)
            self._lock.notify_all()

    def _failure(self, error: BaseException) -> LogError:
        if isinstance(error, OSError):
            return self._error("appended to", error)
        return LogError(f"The evidence log {self._path} was not appended to: {type(error).__name__}.")

    def _write_batch(self, batch: list[_Waiting]) -> None:
        sequence, previous, lines = self._next, self._previous, bytearray()
        for waiting in batch:
            now_ns = self._clock.wall_ns()
            line = line_around(waiting.data, waiting.kind, self._name, sequence, previous, now_ns)
            lines += line + b"\n"
            previous = leaf_hash(line)
            sequence += 1
        self._write(bytes(lines))
        self._next, self._previous = sequence, previous
        self._size += len(lines)

    def _write(self, lines: bytes) -> None:
        try:
            self._write_once(lines)
        except OSError as error:
            if not self._reserve.exists():
                raise
            self._reserve.unlink()
            try:
                self._write_once(lines)
            except OSError:
                raise error from None

    def _write_once(self, lines: bytes) -> None:
        self._hold_off_readers()
        try:
            if self._left_over:
                os.ftruncate(self._file, self._size)
            self._left_over = True
            view = memoryview(lines)
            at = self._size
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
            os.fdatasync(self._file)
            self._left_over = False
        except BaseException:
            os.ftruncate(self._file, self._size)
            self._left_over = False
            raise
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _hold_off_readers(self) -> None:
        """Who follows the log must not see a line that may be taken back; who hangs must not stop the log."""
        until = time.monotonic() + _READER_PATIENCE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    return
                time.sleep(0.0005)
            else:
                return

    def _recover(self) -> Event | None:
        """Finds where the log goes on. What is behind its last event is cut off: the event that says so."""
        end = os.fstat(self._file).st_size
        self._size = whole_bytes(self._file, end)
        # After a power cut the lines of the last, unfinished write may be there in part or hold anything.
        least = self._size - MAX_BATCH_LINES * MAX_LINE_BYTES
        while self._size > 0:
            line = last_line(self._file, self._size, MAX_LINE_BYTES)
            sequence = None if line is None else _sequence_of(line)
            if line is not None and sequence is not None:
                self._next, self._previous = sequence + 1, leaf_hash(line)
                break
            self._size = whole_bytes(self._file, self._size - 1)
            if self._size <= max(least, 0):
                # Not a write that was cut off: another file, or one that somebody changed.
                self._not_a_log()
        if self._size == end:
            return None
        cut = end - self._size
        digest = _hash_of(self._file, self._size, end)
        os.ftruncate(self._file, self._size)
        os.fdatasync(self._file)
        return Event(Kind.LOG_REPAIRED, {"bytes_cut": cut, "cut_sha256": digest})

    def _not_a_log(self) -> None:
        raise LogError(
            f"{self._path}: the last lines are not events.",
            hint="Move the log's folder aside and keep it as evidence; a new log starts by itself.",
        )

    def _reserve_space(self, size: int) -> None:
        if self._reserve.exists():
            return
        descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            self._reserve.unlink()
        finally:
            os.close(descriptor)

    def _error(self, done: str, error: OSError) -> LogError:
        return LogError(
            f"The evidence log {self._path} cannot be {done}: {error.strerror}.",
            hint="No log, no video: free space, or check the folder's owner and that no other process runs.",
        )

    def close(self) -> None:
        with self._lock:
            while self._writing:
                self._lock.wait()
            if not self._closed:
                self._closed = True
                os.close(self._file)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make_room_for_checkpoints(folder: Path) -> None:
    with suppress(PermissionError):
        folder.chmod(0o770)
    path = folder / CHECKPOINTS_FILE
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            # The service's umask takes the group's right to write away.
            with suppress(PermissionError):
                os.fchmod(descriptor, 0o660)
        finally:
            os.close(descriptor)


def _sequence_of(line: bytes) -> int | None:
    try:
        sequence = parse_line(line).get("seq")
    except NotCanonicalError:
        return None
    return sequence if isinstance(sequence, int) and sequence >= 0 else None


def _hash_of(descriptor: int, start: int, end: int) -> str:
    digest = hashlib.sha256()
    while start < end:
        block = os.pread(descriptor, min(1 << 20, end - start), start)
        if not block:
            break
        digest.update(block)
        start += len(block)
    return digest.hexdigest()
