"""Still pictures as raw frames: decoded, turned upright, in a slot. Nothing else of the file is kept."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from veil.domain.clock import Clock
from veil.errors import CaptureError
from veil.frames.picture import FrameInfo
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.frames.still import Still, read_still


def open_still(path: Path, clock: Clock, *, sequence: int = 0) -> RawFrame:
    """The picture as a raw frame in a pool of its own.

    Raises CaptureError for what cannot be read, and as `read_still` does.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptureError(
            f"{path} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
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
