"""RetinaFace, as biubug6's Pytorch_Retinaface exports it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil.detect.decode_found import LARGEST_EXPONENT, Floats, Found, require
from veil.detect.runtime import Outputs, Shapes

PRIOR_SIDES = {8: (16.0, 32.0), 16: (64.0, 128.0), 32: (256.0, 512.0)}
"""Sides of the square priors of each stride, in pixels of the input, in the model's order."""
_CENTRE_VARIANCE = 0.1
_SIZE_VARIANCE = 0.2


class RetinaFace:
    """`loc` [1, N, 4] and `conf` [1, N, 2] probabilities of background and face, one row for each prior.

    Priors: strides in order, cells row by row, in each the two sides of PRIOR_SIDES, at the cell's centre.
    Centre = prior + 0.1 * loc[:2] * side, size = side * exp(0.2 * loc[2:]). Landmarks are not read.
    """

    def __init__(self, strides: Sequence[int], lowest: float) -> None:
        self._strides = tuple(strides)
        self._lowest = lowest
        self._priors: Floats = np.zeros((0, 3), np.float32)
        self._priors_for = (0, 0)

    def shapes(self, width: int, height: int) -> Shapes:
        rows = sum(
            -(-height // stride) * -(-width // stride) * len(PRIOR_SIDES[stride]) for stride in self._strides
        )
        return {"loc": (1, rows, 4), "conf": (1, rows, 2)}

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        if self._priors_for != (width, height):
            self._priors = np.concatenate([_priors(stride, width, height) for stride in self._strides])
            self._priors_for = (width, height)
        scores = outputs["conf"][0, :, 1]
        which = np.flatnonzero(scores >= self._lowest)
        away, priors = outputs["loc"][0, which], self._priors[which]
        side = priors[:, 2:]
        centre = priors[:, :2] + _CENTRE_VARIANCE * away[:, :2] * side
        half = side / 2 * np.exp(np.clip(_SIZE_VARIANCE * away[:, 2:], -LARGEST_EXPONENT, LARGEST_EXPONENT))
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Found(boxes, np.clip(scores[which], 0, 1), np.zeros(len(which), np.intp))


def _priors(stride: int, width: int, height: int) -> Floats:
    """[N, 3] centre x, y and side of a stride's priors, in pixels."""
    sides = np.array(PRIOR_SIDES[stride], np.float32)
    ys, xs, each = np.indices((-(-height // stride), -(-width // stride), len(sides)))
    table = [(xs + 0.5) * stride, (ys + 0.5) * stride, sides[each]]
    return np.stack(table, axis=-1).reshape(-1, 3).astype(np.float32)
