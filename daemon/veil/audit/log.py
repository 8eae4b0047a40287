"""The append-only log of one camera: one canonical JSON object a line, durable before `append` returns."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Protocol

from veil.audit.event import Event, Kind, canonical_line
from veil.audit.tree import HASH_BYTES, leaf_hash
from veil.domain.clock import Clock
from veil.errors import LogError
from veil.host.disk import sync_directory

RESERVE_BYTES = 1 << 20


class EventSink(Protocol):
    """Where stages send their evidence."""

    def append(self, event: Event) -> int:
        """Makes the event durable and returns its sequence number; raises LogError where it cannot."""
        ...


def note_fault(log: EventSink, text: str) -> None:
    """An error that a stage answered by hiding or dropping; the text is cut to 300 characters.

    The text may come from a native library: what is no Unicode in it is replaced.
    """
    said = text[:300].encode(errors="replace").decode()
    log.append(Event(Kind.FAULT, {"text": said}))


class Unlogged:
    """Takes events and keeps none: for a file anonymized without `--evidence`."""

    def __init__(self) -> None:
        self._next = 0

    def append(self, event: Event) -> int:
        del event
        self._next += 1
        return self._next - 1


class EventLog:
    """A file with a reserve of disk space beside it, so that "disk full" can still be logged.

    A torn last line (power cut) is cut off when the log is opened, and the repair is an event of its own. One
    process has a log open at a time (the file is locked). Raises LogError for a log that cannot be opened.

    Args:
        path: made if missing, mode 0640, its folder 0750.
        name: the log's name, repeated in each line.
        reserve_bytes: 0 for none.
    """

    def __init__(self, path: Path, name: str, clock: Clock, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        self._path = path
        self._reserve = path.with_name(f"{path.name}.reserve")
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise self._error("opened", error) from error
        try:
            os.lockf(self._file, os.F_TLOCK, 0)
            self._next, self._size, torn, self._previous = self._recover()
            if reserve_bytes:
                self._reserve_space(reserve_bytes)
            sync_directory(path.parent)
            if torn:
                self.append(Event(Kind.LOG_REPAIRED, {"bytes_cut": torn}))
        except OSError as error:
            os.close(self._file)
            raise self._error("opened", error) from error
        except LogError:
            os.close(self._file)
            raise

    @property
    def path(self) -> Path:
        return self._path

    @property
    def next_sequence(self) -> int:
        return self._next

    def append(self, event: Event) -> int:
        """Durable when it returns. After a LogError the line is not in the log, and the log stays usable."""
        with self._lock:
            if self._closed:
                # A thread that was left behind must not write to what has the descriptor's number now.
                raise LogError(f"The evidence log {self._path} is closed.")
            sequence = self._next
            bare = canonical_line(self._name, sequence, self._previous, self._clock.wall_ns(), event)
            line = bare + b"\n"
            try:
                self._write(line)
            except OSError as error:
                raise self._error("appended to", error) from error
            self._next += 1
            self._size += len(line)
            self._previous = leaf_hash(bare)
            return sequence

    def _write(self, line: bytes) -> None:
        try:
            self._write_once(line)
        except OSError as error:
            if not self._reserve.exists():
                raise
            self._reserve.unlink()
            try:
                self._write_once(line)
            except OSError:
                raise error from None

    def _write_once(self, line: bytes) -> None:
        try:
            view = memoryview(line)
            at = self._size
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise

    def _recover(self) -> tuple[int, int, int, bytes]:
        """Next sequence number, size of the whole lines, torn bytes cut off, the last line's hash."""
        end = os.fstat(self._file).st_size
        size, last = end, b""
        position, tail = end, b""
        while position > 0:
            step = min(position, 1 << 16)
            position -= step
            tail = os.pread(self._file, step, position) + tail
            newest = tail.rfind(b"\n")
            if newest < 0:
                size = position
                continue
            size = position + newest + 1
            before = tail.rfind(b"\n", 0, newest)
            if before >= 0 or position == 0:
                last = tail[before + 1 : newest]
                break
        if size < end:
            os.ftruncate(self._file, size)
            os.fdatasync(self._file)
        if not last:
            return 0, size, end - size, bytes(HASH_BYTES)
        try:
            sequence = int(json.loads(last)["seq"])
        except (ValueError, KeyError, TypeError) as error:
            raise LogError(
                f"{self._path}: the last line is not an event.",
                hint="Move the log's folder aside and keep it as evidence; a new log starts by itself.",
            ) from error
        return sequence + 1, size, end - size, leaf_hash(last)

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
            if not self._closed:
                self._closed = True
                os.close(self._file)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
