"""Our own nets: distances to the four sides, in strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.detect.decode_found import Floats, Found, Labels, require
from veil.detect.runtime import Outputs, Shapes


@dataclass(frozen=True, slots=True)
class _Cells:
    """What is the same for all inputs of one size.

    Of each logit, strides one after the other and classes within a stride: `floors` the least that counts,
    `labels` its class, `cells` its cell. Of each cell, strides one after the other: `centres` [N, 2] x, y in
    strides, `strides` in pixels.
    """

    floors: Floats
    labels: Labels
    cells: Labels
    centres: NDArray[np.float64]
    strides: Floats


class LtrbGrid:
    """`cls_S` [1, C, H/S, W/S] logits and `box_S` [1, 4 G, H/S, W/S] left, top, right, bottom distances.

    Distances are in units of the stride S from the cell's centre ((x + 0.5) * S, (y + 0.5) * S). `box_of`
    says which four of the 4 G each class has; without it all classes share one box.
    """

    def __init__(self, strides: Sequence[int], lowest: Sequence[float], box_of: Sequence[int] = ()) -> None:
        self._strides = tuple(strides)
        self._classes = len(lowest)
        self._box_of = np.asarray(box_of or [0] * self._classes)
        self._sides = 4 * (int(self._box_of.max()) + 1)
        floor = np.asarray(lowest, np.float64)
        # Compared before the sigmoid: only candidates pay for an exponential.
        self._logits = np.log(floor / (1 - floor)).astype(np.float32)
        self._known: dict[tuple[int, int], _Cells] = {}

    def shapes(self, width: int, height: int) -> Shapes:
        sides = {stride: (height // stride, width // stride) for stride in self._strides}
        return {
            **{f"cls_{stride}": (1, self._classes, *sides[stride]) for stride in self._strides},
            **{f"box_{stride}": (1, self._sides, *sides[stride]) for stride in self._strides},
        }

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        known = self._known.get((width, height)) or self._learn(width, height)
        logits = np.concatenate([outputs[f"cls_{stride}"].reshape(-1) for stride in self._strides])
        boxes_of = [outputs[f"box_{stride}"].reshape(self._sides, -1) for stride in self._strides]
        sides = np.concatenate(boxes_of, axis=1)
        chosen = np.flatnonzero(logits >= known.floors)
        scores: Floats = np.reciprocal(1 + np.exp(-logits[chosen]), dtype=np.float32)
        cells, labels = known.cells[chosen], known.labels[chosen]
        away = np.maximum(sides.reshape(-1, 4, sides.shape[1])[self._box_of[labels], :, cells], 0)
        centres = known.centres[cells]
        boxes = np.empty((len(cells), 4), np.float32)
        boxes[:, :2] = centres - away[:, :2]
        boxes[:, 2:] = centres + away[:, 2:]
        boxes *= known.strides[cells, None]
        return Found(boxes, scores, labels)

    def _learn(self, width: int, height: int) -> _Cells:
        floors, labels, cells, centres, strides = [], [], [], [], []
        before = 0
        for stride in self._strides:
            rows, columns = height // stride, width // stride
            count = rows * columns
            ys, xs = np.divmod(np.arange(count), columns)
            centres.append(np.stack([xs + 0.5, ys + 0.5], axis=1))
            strides.append(np.full(count, stride, np.float32))
            floors.append(np.repeat(self._logits, count))
            labels.append(np.repeat(np.arange(self._classes), count))
            cells.append(np.tile(before + np.arange(count), self._classes))
            before += count
        found = _Cells(
            np.concatenate(floors),
            np.concatenate(labels),
            np.concatenate(cells),
            np.concatenate(centres),
            np.concatenate(strides),
        )
        # A camera has two sizes of input; where somebody asks for many, they are not kept.
        if len(self._known) < 8:
            self._known[width, height] = found
        return found
