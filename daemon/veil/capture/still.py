"""Still pictures as raw frames: decoded, turned upright, in a slot. Nothing else of the file is kept."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from veil.domain.clock import Clock
from veil.errors import CaptureError
from veil.frames.picture import FrameInfo
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.frames.still import BROKEN, FORMATS, SUFFIXES, Still, read_still

__all__ = ["FOREIGN_SUFFIXES", "SUFFIXES", "open_still"]

FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".jp2", ".jxl"})
"""Pictures that are known for what they are, and refused."""
# Further pictures of an MPO are other views or brightnesses of the first; they are left out.
_ONE_PICTURE = frozenset({"MPO"})


def open_still(path: Path, clock: Clock, *, sequence: int = 0) -> RawFrame:
    """The picture as a raw frame in a pool of its own.

    Raises CaptureError for what is not one still picture, and, before they are decoded, for too many pixels.
    """
    if path.suffix.lower() in FOREIGN_SUFFIXES:
        raise CaptureError(
            f"{path}: {path.suffix} pictures cannot be read.", hint="Convert it to JPEG or PNG first."
        )
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            pictures = 1 if image.format in _ONE_PICTURE else int(getattr(image, "n_frames", 1))
    except BROKEN as error:
        raise CaptureError(f"{path} cannot be read as a picture.", hint="Is it complete?") from error
    if pictures > 1:
        raise CaptureError(f"{path} holds {pictures} pictures.", hint="Convert it to a video first.")
    return _leased(read_still(data, str(path)), clock, sequence)


def _leased(still: Still, clock: Clock, sequence: int) -> RawFrame:
    pool = SlotPool(still.width, still.height, 1)
    slot = pool.acquire(0)
    if slot is None:
        raise CaptureError("a new pool has no slot")
    for target, plane in zip(slot.planes, still.planes, strict=True):
        np.copyto(target, plane)
    info = FrameInfo(
        sequence=sequence,
        pts=sequence,
        time_base=Fraction(1),
        epoch=sequence,
        captured_ns=clock.monotonic_ns(),
        width=still.width,
        height=still.height,
        color=still.color,
    )
    return RawFrame(info, slot, pool)
