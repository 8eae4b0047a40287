"""Dark pictures are brightened before a model looks at them (docs/decisions/0025)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.frames.picture import PlaneArray, Planes

_BLACK = 16
_WHITE = 245
_BRIGHT = 0.99
"""Share of a picture that is darker than what becomes white."""
_LEAST_GAIN = 1.5
"""Pictures that need less stay as they are: in daylight a gain costs more than it finds."""
_MOST_GAIN = 4.0
"""What is darker than that is noise."""
_MOST_CHROMA_GAIN = 2.0
_EVERY = 4
"""Rows and columns of which one is counted."""
_LEVELS: NDArray[np.float64] = np.arange(256, dtype=np.float64)


def gain_for(luma: PlaneArray) -> float:
    """By what a picture of video levels [H, W] is to be brightened; 1.0: it is bright enough."""
    counted = luma[::_EVERY, ::_EVERY]
    counts = np.asarray(cv2.calcHist([counted], [0], None, [256], [0, 256]), np.float32)
    bright = int(np.cumsum(counts, dtype=np.float64).searchsorted(_BRIGHT * counted.size))
    gain = (_WHITE - _BLACK) / max(bright - _BLACK, 1)
    return 1.0 if gain < _LEAST_GAIN else min(gain, _MOST_GAIN)


def brighten(planes: Planes, gain: float) -> None:
    """Brightens planes of video levels in their own memory."""
    if gain <= 1.0:
        return
    cv2.LUT(planes.y, _table(gain, _BLACK), dst=planes.y)
    chroma = _table(min(gain, _MOST_CHROMA_GAIN), 128)
    cv2.LUT(planes.u, chroma, dst=planes.u)
    cv2.LUT(planes.v, chroma, dst=planes.v)


def _table(gain: float, fixed: int) -> PlaneArray:
    """Levels to levels: `fixed` stays, others move away from it."""
    return np.clip((_LEVELS - fixed) * gain + fixed, 0, 255).round().astype(np.uint8)
