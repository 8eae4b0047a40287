"""YuNet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil.detect.decode_found import LARGEST_EXPONENT, Found, joined, require
from veil.detect.runtime import Outputs, Shapes


class YuNet:
    """YuNet: `cls_S`, `obj_S` [1, N, 1], score = sqrt(cls * obj); `bbox_S` [1, N, 4] offsets and log sizes.

    Centre = (cell + dxy) * S, size = exp(dwh) * S; cells row by row.
    """

    def __init__(self, strides: Sequence[int], lowest: float) -> None:
        self._strides = tuple(strides)
        self._lowest = lowest

    def shapes(self, width: int, height: int) -> Shapes:
        cells = {stride: (height // stride) * (width // stride) for stride in self._strides}
        return {
            **{f"cls_{stride}": (1, cells[stride], 1) for stride in self._strides},
            **{f"obj_{stride}": (1, cells[stride], 1) for stride in self._strides},
            **{f"bbox_{stride}": (1, cells[stride], 4) for stride in self._strides},
        }

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        return joined([self._at(outputs, stride, width // stride) for stride in self._strides])

    def _at(self, outputs: Outputs, stride: int, columns: int) -> Found:
        product = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1) * np.clip(
            outputs[f"obj_{stride}"][0, :, 0], 0, 1
        )
        cells = np.flatnonzero(product >= self._lowest**2)
        rows, column = np.divmod(cells, columns)
        away = outputs[f"bbox_{stride}"][0, cells]
        centre = (np.stack([column, rows], axis=1) + away[:, :2]) * stride
        half = np.exp(np.clip(away[:, 2:], -LARGEST_EXPONENT, LARGEST_EXPONENT)) * (stride / 2)
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Found(boxes, np.sqrt(product[cells]), np.zeros(len(cells), np.intp))
