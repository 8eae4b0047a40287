"""Frames made in code for tests: slots with known pixels, and their leases."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from veil.frames.picture import FrameInfo
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame

SECOND = 1_000_000_000


def info(sequence: int, width: int = 64, height: int = 48, *, pts: int | None = None) -> FrameInfo:
    """A frame of a 25 frames a second camera that started at monotonic time 0."""
    return FrameInfo(
        sequence=sequence,
        pts=sequence if pts is None else pts,
        time_base=Fraction(1, 25),
        epoch=1,
        captured_ns=sequence * SECOND // 25,
        width=width,
        height=height,
    )


def noise(pool: SlotPool, about: FrameInfo, seed: int = 0) -> RawFrame:
    """A raw frame full of noise, which no mask may let through."""
    slot = pool.acquire(1.0)
    assert slot is not None
    random = np.random.default_rng((seed, about.sequence))
    for plane in slot.planes:
        plane[...] = random.integers(0, 256, plane.shape, np.uint8)
    return RawFrame(about, slot, pool)
