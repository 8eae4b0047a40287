"""Finds masks in an output's own pixels: flat black, whatever a program says that it hid."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.domain.cover import Solid
from veil.frames.picture import Planes
from veil.mask.painter import WHOLE

Mask = NDArray[np.uint8]

TOLERANCE = 8
"""Grey levels that a codec may move a flat area's pixels by."""
BLOCK = 4
"""Pixels; what is not flat over a whole block of this side is no mask."""


def flat_mask(planes: Planes) -> Mask:
    """[H, W] with 1 where the picture is flat in the mask's colour, 0 elsewhere.

    A whole frame in the colour of hidden frames counts as masked all over.
    """
    if _is(planes, WHOLE).all():
        return np.ones(planes.y.shape, np.uint8)
    block = np.ones((BLOCK, BLOCK), np.uint8)
    opened = cv2.morphologyEx(_is(planes, Solid()).astype(np.uint8), cv2.MORPH_OPEN, block)
    return np.asarray(opened, np.uint8)


def _is(planes: Planes, colour: Solid) -> NDArray[np.bool_]:
    luma = _close(planes.y, colour.y)
    chroma = _close(planes.u, colour.u) & _close(planes.v, colour.v)
    return luma & chroma.repeat(2, axis=0).repeat(2, axis=1)


def _close(plane: NDArray[np.uint8], value: int) -> NDArray[np.bool_]:
    low, high = max(0, value - TOLERANCE), min(255, value + TOLERANCE)
    return (plane >= low) & (plane <= high)
