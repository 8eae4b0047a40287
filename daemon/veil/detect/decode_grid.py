"""Our own nets: distances to the four sides, in strides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil.detect.decode_found import Found, joined, require
from veil.detect.runtime import Outputs, Shapes


class LtrbGrid:
    """`cls_S` [1, C, H/S, W/S] logits and `box_S` [1, 4, H/S, W/S] left, top, right, bottom distances.

    Distances are in units of the stride S from the cell's centre ((x + 0.5) * S, (y + 0.5) * S).
    """

    def __init__(self, strides: Sequence[int], lowest: Sequence[float]) -> None:
        self._strides = tuple(strides)
        self._classes = len(lowest)
        floor = np.asarray(lowest, np.float64)
        # Compared before the sigmoid: only candidates pay for an exponential.
        self._logits = np.log(floor / (1 - floor)).astype(np.float32)[:, None, None]

    def shapes(self, width: int, height: int) -> Shapes:
        sides = {stride: (height // stride, width // stride) for stride in self._strides}
        return {
            **{f"cls_{stride}": (1, self._classes, *sides[stride]) for stride in self._strides},
            **{f"box_{stride}": (1, 4, *sides[stride]) for stride in self._strides},
        }

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        parts = [self._at(outputs, stride) for stride in self._strides]
        return joined(parts)

    def _at(self, outputs: Outputs, stride: int) -> Found:
        logits = outputs[f"cls_{stride}"][0]
        labels, ys, xs = np.nonzero(logits >= self._logits)
        scores = 1 / (1 + np.exp(-logits[labels, ys, xs]))
        away = np.maximum(outputs[f"box_{stride}"][0][:, ys, xs], 0)
        boxes = np.empty((len(xs), 4), np.float32)
        boxes[:, 0] = (xs + 0.5) - away[0]
        boxes[:, 1] = (ys + 0.5) - away[1]
        boxes[:, 2] = (xs + 0.5) + away[2]
        boxes[:, 3] = (ys + 0.5) + away[3]
        boxes *= stride
        return Found(boxes, scores, labels)
