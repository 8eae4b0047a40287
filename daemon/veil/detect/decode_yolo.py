"""YOLOv5-face and YOLOv8, whose exports mostly hold boxes in pixels already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil.detect.decode_found import Floats, Found, joined, require
from veil.detect.runtime import Outputs, Shapes

ANCHORS = {
    8: ((4.0, 5.0), (8.0, 10.0), (13.0, 16.0)),
    16: ((23.0, 29.0), (43.0, 55.0), (73.0, 105.0)),
    32: ((146.0, 217.0), (231.0, 300.0), (335.0, 433.0)),
}
"""Width and height of YOLOv5-face's anchors, in pixels of the input."""
FACE_VALUES = 16
"""Of a box of YOLOv5-face: x, y, w, h, object, five landmarks' x and y, face."""
_OBJECT, _FACE = 4, 15


class Yolov5Face:
    """YOLOv5-face with its head exported: `output` [1, N, 16], one row for each anchor.

    Centre x, y, width, height in pixels; score = object * face. Landmarks are not read.
    """

    def __init__(self, strides: Sequence[int], lowest: float) -> None:
        self._strides = tuple(strides)
        self._lowest = lowest

    def shapes(self, width: int, height: int) -> Shapes:
        cells = sum((height // stride) * (width // stride) for stride in self._strides)
        return {"output": (1, 3 * cells, FACE_VALUES)}

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        rows = outputs["output"][0]
        scores = np.clip(rows[:, _OBJECT], 0, 1) * np.clip(rows[:, _FACE], 0, 1)
        which = np.flatnonzero(scores >= self._lowest)
        return Found(_corners(rows[which, :4]), scores[which], np.zeros(len(which), np.intp))


class Yolov5FaceRaw:
    """YOLOv5-face without its head: `stride_S` [1, 3, H/S, W/S, 16] logits, for the anchors of ANCHORS.

    With s the sigmoid: centre = (2 s(xy) - 0.5 + cell) * S, size = (2 s(wh))^2 * anchor.
    """

    def __init__(self, strides: Sequence[int], lowest: float) -> None:
        self._strides = tuple(strides)
        self._lowest = lowest
        # The product is at most the smaller factor: only these cells pay for exponentials.
        self._logit = float(np.log(lowest / (1 - lowest)))

    def shapes(self, width: int, height: int) -> Shapes:
        return {
            f"stride_{stride}": (1, len(ANCHORS[stride]), height // stride, width // stride, FACE_VALUES)
            for stride in self._strides
        }

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        return joined([self._at(outputs[f"stride_{stride}"][0], stride) for stride in self._strides])

    def _at(self, logits: Floats, stride: int) -> Found:
        likely = np.minimum(logits[..., _OBJECT], logits[..., _FACE]) >= self._logit
        anchor, ys, xs = np.nonzero(likely)
        rows = _sigmoid(logits[anchor, ys, xs])
        scores = rows[:, _OBJECT] * rows[:, _FACE]
        centre = (rows[:, :2] * 2 - 0.5 + np.stack([xs, ys], axis=1)) * stride
        sizes = (rows[:, 2:4] * 2) ** 2 * np.array(ANCHORS[stride], np.float32)[anchor]
        boxes = _corners(np.concatenate([centre, sizes], axis=1).astype(np.float32))
        which = np.flatnonzero(scores >= self._lowest)
        return Found(boxes[which], scores[which], np.zeros(len(which), np.intp))


class Yolov8:
    """Ultralytics' head: `output0` [1, V, N]; V is centre x, y, width, height in pixels, then class scores.

    What follows the class scores (key points) is not read.

    Args:
        strides: N is the number of all their cells.
        lowest: of each class of the bundle.
        channels: of each class of the bundle, which of the model's classes it is.
        values: V.
    """

    def __init__(
        self, strides: Sequence[int], lowest: Sequence[float], channels: Sequence[int], values: int
    ) -> None:
        self._strides = tuple(strides)
        self._lowest = np.asarray(lowest, np.float32)[:, None]
        self._rows = np.asarray(channels, np.intp) + 4
        self._values = values

    def shapes(self, width: int, height: int) -> Shapes:
        cells = sum((height // stride) * (width // stride) for stride in self._strides)
        return {"output0": (1, self._values, cells)}

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        values = outputs["output0"][0]
        scores = np.clip(values[self._rows], 0, 1)
        labels, which = np.nonzero(scores >= self._lowest)
        return Found(_corners(values[:4, which].T), scores[labels, which], labels)


def _corners(centred: Floats) -> Floats:
    """[N, 4] x, y, w, h with x, y in the centre to corners; sizes below zero are none."""
    half = np.maximum(centred[:, 2:], 0) / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), np.float32)
