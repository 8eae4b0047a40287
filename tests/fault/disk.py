"""A disk that fails: stands in for the module `os` in the files that write evidence and recordings."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from fault.switches import Switches

_ERRORS = {"disk_full": errno.ENOSPC, "disk_broken": errno.EIO}


class FaultyOs:
    """`os`, whose writing calls fail below the folders that are registered, as armed there.

    Faults: `disk_full` and `disk_broken` (value: a call's name, or None for any), `disk_slow` (seconds).
    """

    def __init__(self) -> None:
        self._folders: dict[Path, Switches] = {}

    def register(self, folder: Path, switches: Switches) -> None:
        self._folders[folder] = switches

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _trouble(self, call: str, descriptor: int) -> None:
        try:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
        except OSError:
            return
        switches = next((s for folder, s in self._folders.items() if folder in path.parents), None)
        if switches is None:
            return
        kind = "log" if path.suffix == ".jsonl" else "recording"
        for name, number in _ERRORS.items():
            if (
                armed := switches.take(f"{kind}_{name}_{call}") or switches.take(f"{kind}_{name}")
            ) is not None:
                raise OSError(number, os.strerror(number))
        if (armed := switches.take(f"{kind}_disk_slow")) is not None:
            time.sleep(armed.value)

    def write(self, descriptor: int, data: Any) -> int:
        self._trouble("write", descriptor)
        return os.write(descriptor, data)

    def pwrite(self, descriptor: int, data: Any, at: int) -> int:
        self._trouble("write", descriptor)
        return os.pwrite(descriptor, data, at)

    def fsync(self, descriptor: int) -> None:
        self._trouble("fsync", descriptor)
        os.fsync(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        self._trouble("fdatasync", descriptor)
        os.fdatasync(descriptor)

    def ftruncate(self, descriptor: int, size: int) -> None:
        self._trouble("ftruncate", descriptor)
        os.ftruncate(descriptor, size)
