"""File to file: Veil beside bare ffmpeg and deface, each as a whole process, in turn."""

from __future__ import annotations

import compileall
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import veil
from veil.config import EncoderConfig


@dataclass(frozen=True, slots=True)
class Contender:
    """A command that turns `frames` frames into a file."""

    name: str
    command: Sequence[str]
    frames: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Medians over the rounds."""

    name: str
    frames_per_s: float
    wall_s: float
    cpu_ms_per_frame: float


def contenders(movie: Path, short: Path, frames: tuple[int, int], out: Path, deface: Path) -> list[Contender]:
    """Veil, ffmpeg with the same encoder settings, and deface (on the first frames only: it is slow)."""
    encoder = EncoderConfig()
    rate = str(encoder.bit_rate)
    bare = ["ffmpeg", "-v", "error", "-y", "-i", str(movie), "-an", "-c:v", "libx264"]
    bare += ["-preset", encoder.preset, "-tune", "zerolatency", "-b:v", rate, "-maxrate", rate]
    bare += ["-bufsize", rate, "-threads:v", str(encoder.threads), str(out / "bare.mp4")]
    veil = [sys.executable, "-m", "veil.cli", "anonymize", "--force", str(movie), str(out / "veil.mp4")]
    listed = [Contender("ffmpeg, no masks", bare, frames[0]), Contender("veil anonymize", veil, frames[0])]
    if deface.exists():
        base = [str(deface), "--backend", "onnxrt", "--output"]
        native = [*base, str(out / "deface.mp4"), str(short)]
        small = [*base, str(out / "deface-640.mp4"), "--scale", "640x360", str(short)]
        listed.append(Contender("deface, native scale", native, frames[1]))
        listed.append(Contender("deface, 640x360", small, frames[1]))
    return listed


def measure(listed: Sequence[Contender], rounds: int) -> list[Timing]:
    """Runs all in turn, `rounds` times after one warm-up of each but deface."""
    # As pip leaves an installation, whatever PYTHONDONTWRITEBYTECODE says here.
    compileall.compile_dir(Path(veil.__file__).parent, quiet=2)
    for contender in listed[:2]:
        _run(contender)
    runs: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in listed}
    for number in range(rounds):
        for contender in listed:
            if number == 0 or not contender.name.startswith("deface, native"):
                runs[contender.name].append(_run(contender))
    return [
        Timing(
            contender.name,
            contender.frames / statistics.median(wall for wall, _ in runs[contender.name]),
            statistics.median(wall for wall, _ in runs[contender.name]),
            statistics.median(cpu for _, cpu in runs[contender.name]) * 1000 / contender.frames,
        )
        for contender in listed
    ]


def _run(contender: Contender) -> tuple[float, float]:
    """Wall and CPU seconds."""
    before = os.times()
    begun = time.perf_counter()
    subprocess.run(
        contender.command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall = time.perf_counter() - begun
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu
