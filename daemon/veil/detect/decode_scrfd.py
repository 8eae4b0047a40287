"""SCRFD, as insightface exports it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil.detect.decode_found import Floats, Found, joined, require
from veil.detect.runtime import Outputs, Shapes

ANCHORS = {3: 2, 5: 1}
"""Anchors in each cell, by the number of strides."""


class Scrfd:
    """`score_S` [1, N, 1] 0..1 and `bbox_S` [1, N, 4] left, top, right, bottom in units of the stride S.

    Cells row by row, the anchors of a cell one after the other, all at its top left corner (x * S, y * S).
    Exports without an axis for the batch ([N, 1], [N, 4]) are read as well. Key points are not read.
    """

    def __init__(self, strides: Sequence[int], lowest: float) -> None:
        self._strides = tuple(strides)
        self._anchors = ANCHORS[len(self._strides)]
        self._lowest = lowest

    def shapes(self, width: int, height: int) -> Shapes:
        rows = {stride: (height // stride) * (width // stride) * self._anchors for stride in self._strides}
        return {
            **{f"score_{stride}": (1, rows[stride], 1) for stride in self._strides},
            **{f"bbox_{stride}": (1, rows[stride], 4) for stride in self._strides},
        }

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        batched = {name: each[None] if each.ndim == 2 else each for name, each in outputs.items()}
        require(batched, self.shapes(width, height))
        return joined(
            [
                self._at(batched[f"score_{stride}"][0, :, 0], batched[f"bbox_{stride}"][0], stride, width)
                for stride in self._strides
            ]
        )

    def _at(self, scores: Floats, distances: Floats, stride: int, width: int) -> Found:
        which = np.flatnonzero(scores >= self._lowest)
        ys, xs = np.divmod(which // self._anchors, width // stride)
        corner = np.stack([xs, ys], axis=1)
        away = np.maximum(distances[which], 0)
        boxes = np.concatenate([corner - away[:, :2], corner + away[:, 2:]], axis=1) * stride
        return Found(boxes.astype(np.float32), np.clip(scores[which], 0, 1), np.zeros(len(which), np.intp))
