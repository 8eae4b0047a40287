"""A picture over the limit costs no memory: measured on the process, against the size of its pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SIZES = ("8192x8192", "1082x16384")
_READ = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from capture.parts import Pools, Watcher
from veil.capture.file import FileSource
from veil.config import CaptureConfig
from veil.domain.clock import SystemClock
from veil.errors import FrameTooLargeError
config = CaptureConfig(max_width=1920, max_height=1080)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    list(FileSource(Path(sys.argv[1]), config, Pools(), Watcher(), SystemClock()).frames())
except FrameTooLargeError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("encoder", [["libx264", "-preset", "ultrafast"], ["mjpeg"]])
def test_too_large_pictures_are_never_allocated(tmp_path: Path, encoder: list[str], size: str) -> None:
    path = tmp_path / "big.mkv"
    grey = f"color=gray:s={size}:r=25"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", grey, "-frames:v", "1", "-c:v", *encoder, path]
    subprocess.run(make, check=True)
    answer = subprocess.run(
        [sys.executable, "-c", _READ, path, *sys.path], capture_output=True, text=True, check=True
    )
    grown_kib = int(answer.stdout)
    width, height = map(int, size.split("x"))
    # Reading a file at all takes some.
    assert grown_kib * 1024 < max(width * height * 3 // 2 / 2, 24 << 20)
