"""From a model's outputs to boxes in pixels of its input: candidates by score, then no duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.detect.manifest import DecoderTable
from veil.detect.pairs import common_area, sharing_columns
from veil.detect.runtime import Outputs, Shapes
from veil.errors import DetectorError

MAX_CANDIDATES = 2000
_LARGEST_EXPONENT = 10.0
_MAX_PAIRS = 300_000
_ALONG_X = np.array([1, 0, 1, 0], np.float32)

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Found:
    """`boxes` [N, 4] x0, y0, x1, y1 in pixels, `scores` [N] 0..1, `labels` [N] into the bundle's classes."""

    boxes: Floats
    scores: Floats
    labels: Labels

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: NDArray[Any]) -> Found:
        return Found(self.boxes[which], self.scores[which], self.labels[which])


class Decoder(Protocol):
    """Candidates of one kind of model. Pure but for what is computed once at construction."""

    def shapes(self, width: int, height: int) -> Shapes:
        """Names and shapes of the outputs that are read, for an input of `width` x `height`."""
        ...

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        """All candidates from their class's lowest score on, unordered, with duplicates.

        Raises DetectorError for outputs of another shape or that are not finite.
        """
        ...


def make_decoder(table: DecoderTable, lowest: Sequence[float]) -> Decoder:
    """The decoder that a manifest names; `lowest` is each class's lowest score, 0 < score < 1."""
    match table.kind:
        case "ltrb_grid":
            return LtrbGrid(table.strides, lowest)
        case "yunet":
            return YuNet(table.strides, lowest[0])
        case "centerface":
            return CenterFace(table.strides[0], lowest[0])


def suppress(found: Found, iou: float) -> Found:
    """Greedy non-maximum suppression within each class, best scores first.

    At most MAX_CANDIDATES are looked at, the best ones.
    """
    if len(found) > MAX_CANDIDATES:
        found = found.take(np.argpartition(-found.scores, MAX_CANDIDATES)[:MAX_CANDIDATES])
    found = found.take(np.argsort(-found.scores, kind="stable"))
    if len(found) < 2:
        return found
    # Classes far apart never overlap, so that one pass does for all.
    apart = np.float32(np.abs(found.boxes).max() * 4 + 16)
    boxes = found.boxes + (found.labels.astype(np.float32) * apart)[:, None] * _ALONG_X
    pairs = sharing_columns(boxes)
    if len(pairs[0]) > _MAX_PAIRS:
        return found.take(_by_rows(boxes, found.scores, iou))
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    common = common_area(boxes, pairs)
    over = common > iou * (area[pairs[0]] + area[pairs[1]] - common)
    # The boxes are in order of score: the smaller index is the better one.
    better, worse = np.minimum(*pairs)[over], np.maximum(*pairs)[over]
    return found.take(np.flatnonzero(_kept(len(found), better, worse)))


def _kept(count: int, better: Labels, worse: Labels) -> NDArray[np.bool_]:
    """Which of `count` boxes no kept better one suppresses: settled from the best down, many at a time."""
    kept = np.zeros(count, np.bool_)
    open_ = np.ones(count, np.bool_)
    while len(worse):
        free = open_.copy()
        free[worse] = False  # something better is not settled yet
        kept |= free
        open_ &= ~free
        open_[worse[free[better]]] = False
        left = open_[better] & open_[worse]
        better, worse = better[left], worse[left]
    return kept | open_


def _by_rows(boxes: Floats, scores: Floats, iou: float) -> Labels:
    """The same for crowded candidates, of which few remain."""
    corners: Any = boxes.copy()  # the binding takes arrays where its stub says sequences
    corners[:, 2:] -= corners[:, :2]
    ordered: Any = scores
    return np.sort(np.asarray(cv2.dnn.NMSBoxes(corners, ordered, 0.0, iou), np.intp).reshape(-1))


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
        return _joined(parts)

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
        return _joined([self._at(outputs, stride, width // stride) for stride in self._strides])

    def _at(self, outputs: Outputs, stride: int, columns: int) -> Found:
        product = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1) * np.clip(
            outputs[f"obj_{stride}"][0, :, 0], 0, 1
        )
        cells = np.flatnonzero(product >= self._lowest**2)
        rows, column = np.divmod(cells, columns)
        away = outputs[f"bbox_{stride}"][0, cells]
        centre = (np.stack([column, rows], axis=1) + away[:, :2]) * stride
        half = np.exp(np.clip(away[:, 2:], -_LARGEST_EXPONENT, _LARGEST_EXPONENT)) * (stride / 2)
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Found(boxes, np.sqrt(product[cells]), np.zeros(len(cells), np.intp))


class CenterFace:
    """CenterFace: heat map `537`, log sizes `538` (height, width) and offsets `539` (y, x) at one stride."""

    def __init__(self, stride: int, lowest: float) -> None:
        self._stride = stride
        self._lowest = lowest

    def shapes(self, width: int, height: int) -> Shapes:
        side = (height // self._stride, width // self._stride)
        return {"537": (1, 1, *side), "538": (1, 2, *side), "539": (1, 2, *side)}

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        heat = outputs["537"][0, 0]
        ys, xs = np.nonzero(heat >= self._lowest)
        sizes = np.clip(outputs["538"][0, :, ys, xs], -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        half = np.exp(sizes[:, ::-1]) * (self._stride / 2)
        away = outputs["539"][0, :, ys, xs]
        centre = (np.stack([xs, ys], axis=1) + away[:, ::-1] + 0.5) * self._stride
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Found(boxes, np.clip(heat[ys, xs], 0, 1), np.zeros(len(ys), np.intp))


def require(outputs: Outputs, shapes: Shapes) -> None:
    """Raises DetectorError for an output that is missing, of another shape, or not finite.

    A comparison with NaN is false: without this a broken model would be one that finds nothing.
    """
    for name, shape in shapes.items():
        values = outputs.get(name)
        if values is None or values.shape != shape:
            got = "nothing" if values is None else "x".join(map(str, values.shape))
            raise DetectorError(
                f"the model's output {name} is {got}, its decoder reads {'x'.join(map(str, shape))}."
            )
        if not np.isfinite(values).all():
            raise DetectorError(f"the model's output {name} holds values that are not finite.")


def _joined(parts: Sequence[Found]) -> Found:
    return Found(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
