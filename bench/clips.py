"""The clip that benchmarks run on: 1080p30, from ../shared/media, or from the demo's scene without it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from veil.demo.clip import write_clip

SHARED = Path(__file__).resolve().parents[2] / "shared" / "media" / "people-walking.mp4"
SIZE = (1920, 1080)
RATE = 30
_TIMES = 4
"""How often the source is played: a process's start must not weigh in what is said of a frame."""
DELIMITER = b"\x00\x00\x00\x01\x09"
"""Begins each access unit of the stream."""


def ffmpeg(*arguments: str) -> None:
    """Raises CalledProcessError."""
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, stdin=subprocess.DEVNULL)


def make_clips(folder: Path) -> tuple[Path, Path, str]:
    """An MP4, the same as an H.264 stream with access unit delimiters, and where they come from."""
    movie, stream = folder / "bench-1080p30.mp4", folder / "bench-1080p30.h264"
    origin = SHARED
    if not SHARED.exists():
        origin = folder / "scene.h264"
        write_clip(origin, seconds=10)
    scale = f"scale={SIZE[0]}:{SIZE[1]},fps={RATE}"
    encode = ["-c:v", "libx264", "-preset", "medium", "-crf", "20", "-pix_fmt", "yuv420p", "-an"]
    params = ["-x264-params", f"aud=1:repeat-headers=1:keyint={RATE}:bframes=0"]
    again = ["-stream_loop", str(_TIMES - 1)]
    ffmpeg(*again, "-i", str(origin), "-vf", scale, *encode, *params, "-f", "h264", str(stream))
    ffmpeg("-r", str(RATE), "-f", "h264", "-i", str(stream), "-c", "copy", str(movie))
    return movie, stream, origin.name


def cut(movie: Path, frames: int) -> Path:
    """The first `frames` frames, without encoding again."""
    short = movie.with_name(f"{movie.stem}-{frames}.mp4")
    ffmpeg("-i", str(movie), "-frames:v", str(frames), "-c", "copy", str(short))
    return short
