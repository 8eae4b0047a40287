"""Looks for readable markers in whatever a file may be: video, picture, or raw planes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from media import Image
from oracle import pictures_in, read_once, readable

# Rows of a raw plane lie this many bytes apart: as wide as the picture, or padded by the codec library.
_PADDINGS = (0, 32, 64)


def markers_in(path: Path, width: int, height: int, *, every: int = 1) -> set[int]:
    """Ids of all markers that can be read in a file, taken as video, as picture, and as raw bytes.

    Args:
        width, height: of the scene, for raw planes.
        every: of a video's pictures, only each so-manieth is searched by all means.
    """
    found: set[int] = set()
    for index, luma in enumerate(_as_video(path)):
        found.update(readable(luma) if index % every == 0 else read_once(luma))
    data = np.frombuffer(path.read_bytes(), np.uint8)
    for luma in _as_picture(data):
        found.update(readable(luma))
    for luma in _as_planes(data, width, height):
        found.update(read_once(luma))
    return found


def _as_video(path: Path) -> Iterator[Image]:
    before = b""
    try:
        for luma in pictures_in(path):
            if luma.tobytes() != before:
                yield luma
            before = luma.tobytes()
    except (av.FFmpegError, OSError, ValueError):
        return


def _as_picture(data: Image) -> Iterator[Image]:
    if not data.size:
        return
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if image is not None:
        yield np.asarray(image, np.uint8)


def _as_planes(data: Image, width: int, height: int) -> Iterator[Image]:
    """Overlapping windows as high as a picture, so that one of them holds it wherever it begins."""
    for stride in {width + padding for padding in _PADDINGS} | {width * 2, width * 3}:
        rows = data[: data.size // stride * stride].reshape(-1, stride)
        for top in range(0, max(1, len(rows) - height // 2), height // 2):
            window = rows[top : top + height + height // 2]
            if len(window) >= height // 3 and int(window.std()) > 3:
                yield np.ascontiguousarray(window)
