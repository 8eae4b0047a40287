"""The wall clock of a box's processes alone, TLS included: libfaketime sets it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
_SITE = Path(__file__).resolve().parent / "box_clock_site"
MISSING = "libfaketime is not installed (Debian: faketime)"


class BoxClock:
    """The wall clock of the box, seconds off the true one; tests set it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.off_s = 0
        self.environ = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": os.pathsep.join((str(_SITE), *sys.path)),
        }

    def set(self, off_s: int) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(f"{off_s:+d}")
        part.replace(self._file)
        self.off_s = off_s
