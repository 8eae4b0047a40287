"""A file whose content matters by its hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Stamp = tuple[str, int, int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """Two hashes; empty where there was nothing that verifies."""

    old: str
    new: str


class WatchedFile:
    """Read again when its place, inode, size or time changed and then stayed for one look: while an editor
    writes, nothing is said.

    Args:
        path: where it is now; None: nowhere.
        read: its hash, empty for what does not verify. Raises nothing.
    """

    def __init__(self, path: Callable[[], Path | None], read: Callable[[Path], str]) -> None:
        self._path = path
        self._read = read
        self._read_at = self._seen = self._stamp()
        self._hash = self._hash_now()

    def changed(self) -> Change | None:
        """To be called at even intervals."""
        seen, before = self._stamp(), self._seen
        self._seen = seen
        if seen == self._read_at or seen != before:
            return None
        self._read_at = seen
        old, self._hash = self._hash, self._hash_now()
        return Change(old, self._hash) if old != self._hash else None

    def _hash_now(self) -> str:
        path = self._path()
        return self._read(path) if path is not None else ""

    def _stamp(self) -> Stamp | None:
        path = self._path()
        try:
            found = path.stat() if path is not None else None
        except OSError:
            return None
        return (str(path), found.st_ino, found.st_size, found.st_mtime_ns) if found is not None else None
