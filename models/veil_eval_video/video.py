"""Reads clips frame by frame as planes, and cuts short ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from veil.errors import UsageError
from veil.frames.picture import PlaneArray, Planes


def read_planes(path: Path) -> Iterator[Planes]:
    """Every frame as I420, sizes cut to even. Raises UsageError for what cannot be decoded."""
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield _planes(frame)
    except (av.FFmpegError, OSError) as error:
        raise UsageError(f"{path} cannot be decoded: {error}", hint="Is it a complete video?") from error


def _planes(frame: av.VideoFrame) -> Planes:
    if frame.format.name not in {"yuv420p", "yuvj420p"}:
        frame = frame.reformat(format="yuv420p")
    width, height = frame.width & ~1, frame.height & ~1
    sizes = ((height, width), (height // 2, width // 2), (height // 2, width // 2))
    return Planes(*(_plane(plane, *size) for plane, size in zip(frame.planes, sizes, strict=True)))


def _plane(plane: av.video.plane.VideoPlane, height: int, width: int) -> PlaneArray:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return np.ascontiguousarray(rows[:height, :width])


def shorten(source: Path, target: Path, frames: int) -> Path:
    """The first `frames` coded pictures of `source`, not coded again."""
    with av.open(str(source)) as movie, av.open(str(target), "w") as out:
        stream = movie.streams.video[0]
        copy = out.add_stream_from_template(stream)
        left = frames
        for packet in movie.demux(stream):
            if packet.size == 0 or left == 0:
                break
            packet.stream = copy
            out.mux(packet)
            left -= 1
    return target
