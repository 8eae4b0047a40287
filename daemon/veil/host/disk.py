"""The disk below a directory: space, kind, whether it takes writes and how fast."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1 << 20
MOUNTS = Path("/proc/self/mountinfo")
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Bytes of a file system; `free` is what an unprivileged process can still use."""

    free: int
    total: int

    @property
    def used_share(self) -> float:
        """0..1."""
        return 1 - self.free / self.total if self.total else 1.0


def disk_space(directory: Path) -> DiskSpace:
    """Raises OSError when `directory` does not exist."""
    usage = shutil.disk_usage(directory)
    return DiskSpace(usage.free, usage.total)


def nearest_existing(directory: Path) -> Path:
    """`directory` itself, or the closest folder above it that exists and that this user can see."""
    for candidate in (directory, *directory.absolute().parents):
        # Raised below a folder that may not be entered; which of Python's versions do so differs.
        with suppress(PermissionError):
            if candidate.is_dir():
                return candidate
    return Path("/")


def in_the_way(directory: Path) -> Path | None:
    """What is there and no folder where `directory` or one above it should be, so that it cannot be made."""
    for candidate in (directory, *directory.absolute().parents):
        with suppress(OSError):
            if candidate.is_dir():
                return None
            if os.path.lexists(candidate):
                return candidate
    return None


def takes_files(directory: Path) -> None:
    """Makes a folder in there and removes it. Raises OSError where that is refused, whatever rights say."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".veil-"):
        pass


def file_system(directory: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that `directory` lies on (`ext4`, `tmpfs`, ...); "" when not known."""
    target = str(directory.resolve())
    best = ("", "")
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), before.split()[4])
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        # Later lines are mounted over earlier ones.
        if inside and len(point) >= len(best[0]):
            best = (point, after.split()[0])
    return best[1]


def write_speed(directory: Path, size: int) -> float:
    """Writes, fsyncs and removes a file of `size` bytes; bytes a second.

    Raises:
        OSError: when the directory does not take it (permissions, no space, read-only).
    """
    block = os.urandom(MEBIBYTE)
    began = time.monotonic()
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(max(1, size // MEBIBYTE)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return max(size, MEBIBYTE) / max(time.monotonic() - began, 1e-6)


def sync_directory(directory: Path) -> None:
    """Makes created, renamed and removed names durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
