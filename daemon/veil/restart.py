"""How the agent, which has no rights over them, restarts cameras: it leaves a file, and the process ends."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from veil.errors import CommandError


def request_restart(path: Path) -> None:
    """Asks a camera's process to end (`CameraPlaces.restart`); its supervisor starts it again.

    A process that is not there yet needs no restart: at its start, what was asked before is void.
    Raises CommandError where the file cannot be left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o660)
        os.utime(path)
    except OSError as error:
        raise CommandError(
            f"The camera cannot be asked to restart: {path}: {error.strerror}.",
            hint="Agent and camera need a common group and a folder that both may write to.",
        ) from error


class RestartRequest:
    """The camera's side: made at the start of its process, asked each second.

    A request that cannot be removed is obeyed once and not at each start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old = self._take()

    def is_there(self) -> bool:
        """Whether a restart was asked for since the start; true once."""
        found = self._take()
        if found is None or found == self._old:
            return False
        self._old = found
        return True

    def _take(self) -> tuple[int, int] | None:
        """Which request lies there: inode and time; it is then removed."""
        try:
            found = self._path.lstat()
        except OSError:
            return None
        with suppress(OSError):
            self._path.unlink()
        return found.st_ino, found.st_mtime_ns
