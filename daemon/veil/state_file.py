"""What a camera's process says of itself each second, for the agent (`veil.agent.camera_watch` reads it)."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from veil.stats import CameraStats


def write_state(path: Path, stats: CameraStats, *, moving: bool) -> None:
    """Replaces the file; a failure to do so is not the video's business.

    Args:
        moving: whether the output stage turns.
    """
    said = asdict(stats.snapshot()) | {
        "pid": os.getpid(),
        "written_ns": time.monotonic_ns(),
        "moving": moving,
    }
    part = path.with_suffix(".part")
    with suppress(OSError):
        part.write_text(json.dumps(said))
        part.replace(path)
