"""One recording on disk: a `.part` that grows by whole fragments, and what becomes of it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from veil.errors import DiskFullError, SinkError
from veil.host.disk import sync_directory

PART: Final = ".mp4.part"
CLOSED: Final = ".mp4"
SET_ASIDE: Final = "set-aside"
_NAME: Final = re.compile(
    r"(?P<camera>[a-z0-9][a-z0-9_-]*)-(?P<start>\d{8}T\d{6}\.\d{3}Z)-(?P<number>\d{6,})(?P<kind>\.mp4(\.part)?)"
)
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def segment_name(camera: str, start_wall_ns: int, number: int) -> str:
    """`NAME-YYYYmmddTHHMMSS.mmmZ-SEQ`, in UTC, without a suffix."""
    start = datetime.fromtimestamp(start_wall_ns // 1_000_000_000, UTC)
    return f"{camera}-{start:%Y%m%dT%H%M%S}.{start_wall_ns // 1_000_000 % 1000:03d}Z-{number:06d}"


def segment_number(name: str) -> int | None:
    """The running number in a file's name; None for a file that is no recording."""
    match = _NAME.fullmatch(name)
    return int(match["number"]) if match else None


def segment_start_ns(name: str) -> int | None:
    """The wall time in a file's name, to the millisecond; None for a file that is no recording."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        start = datetime.strptime(match["start"], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(start.timestamp()) * 1_000_000_000 + start.microsecond * 1000


def free_bytes(directory: Path) -> int:
    """What an unprivileged process may still write there. Raises OSError."""
    space = os.statvfs(directory)
    return space.f_bavail * space.f_frsize


def free_path(path: Path) -> Path:
    """`path`, or the next `path.N` that does not exist."""
    candidate, count = path, 0
    while candidate.exists():
        count += 1
        candidate = path.with_name(f"{path.name}.{count}")
    return candidate


def move_aside(path: Path) -> Path:
    """Moves a file that cannot be used into `set-aside/` beside it, durably; its new path. Raises OSError."""
    folder = path.parent / SET_ASIDE
    folder.mkdir(exist_ok=True)
    target = free_path(folder / path.name)
    path.rename(target)
    sync_directory(folder)
    sync_directory(path.parent)
    return target


def full_or_broken(error: OSError, what: str) -> SinkError:
    """The error that says whether space is missing or the disk fails."""
    reason = error.strerror or str(error)
    if error.errno in _NO_SPACE:
        return DiskFullError(
            f"{what}: {reason}.", hint="Free space, or lower recorder.keep_gib or recorder.keep_days."
        )
    return SinkError(f"{what}: {reason}.", hint="Check the disk and its file system (dmesg, smartctl).")


class SegmentFile:
    """A `.part` that is written fragment by fragment and locked while it is open.

    Raises DiskFullError without space, SinkError where the file cannot be written.

    Attributes:
        size: bytes that are on disk for certain.
    """

    def __init__(self, directory: Path, name: str, head: bytes) -> None:
        self._final = directory / f"{name}{CLOSED}"
        self.path = directory / f"{name}{PART}"
        self.size = 0
        self._hash = hashlib.sha256()
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise full_or_broken(error, f"a recording cannot be made in {directory}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.append(head)
            sync_directory(directory)
        except OSError as error:
            self.discard()
            raise full_or_broken(error, f"a recording cannot be made in {directory}") from error
        except SinkError:
            self.discard()
            raise

    def append(self, data: bytes) -> None:
        """Writes `data` and waits until it is on disk; afterwards no power cut loses it."""
        try:
            self._write(data)
            os.fdatasync(self._file)
        except OSError as error:
            raise full_or_broken(error, f"{self.path.name} cannot be written") from error
        self.size += len(data)
        self._hash.update(data)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> tuple[Path, str]:
        """Cuts what is not certain, makes the file durable and gives it its final name.

        Returns the path and the SHA-256 (hex) of the content. Raises SinkError where the disk does not take
        it; the `.part` is then still there.
        """
        try:
            os.ftruncate(self._file, self.size)
            os.fsync(self._file)
            if self._final.exists():
                raise FileExistsError(errno.EEXIST, "a recording of this name exists", str(self._final))
            self.path.rename(self._final)
            sync_directory(self._final.parent)
        except OSError as error:
            raise full_or_broken(error, f"{self.path.name} cannot be closed") from error
        finally:
            os.close(self._file)
        return self._final, self._hash.hexdigest()

    def discard(self) -> None:
        """Removes a file that holds no picture yet."""
        os.close(self._file)
        self.path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Lets go of the file as it is; it stays a `.part`."""
        os.close(self._file)
