"""Which cells answer for which boxes, as dense targets for one crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veil_models.dataset import CLASSES
from veil_models.graph import STRIDES

Floats = npt.NDArray[np.float32]

Ranges = dict[int, tuple[float, float]]

SIZE_RANGE: Ranges = {8: (0.0, 48.0), 16: (38.0, 128.0), 32: (104.0, 1e9)}
"""Longer sides, in pixels of the crop, that a stride answers for; neighbours overlap."""

HEAD_RANGE: Ranges = {8: (0.0, 30.0), 16: (24.0, 84.0), 32: (70.0, 1e9)}
"""The same for heads: coarser, because what tells a head is the body below it."""

FACE, PLATE, HEAD = range(3)
DOUBT = 0.45
"""Objects that should score less than this give way to surer ones."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one crop: `xyxy` [N, 4] pixels, `category` [N] index into CLASSES, `score` [N] 0..1 (what the
    class score should become), `weight` [N] (0: ignore region, neither object nor background)."""

    xyxy: Floats
    category: npt.NDArray[np.int64]
    score: Floats
    weight: Floats


@dataclass(frozen=True, slots=True)
class Targets:
    """Dense targets over the A cells of all strides, finest first, row by row.

    `score` [3, A] is what a class score should become where its box fits; `weight` [3, A] the weight of that
    cell's classification; `cell` [P], `category` [P], `xyxy` [P, 4], `share` [P] list the positive cells,
    their boxes and weights.
    """

    score: Floats
    weight: Floats
    cell: npt.NDArray[np.int64]
    category: npt.NDArray[np.int64]
    xyxy: Floats
    share: Floats


def cell_count(size: int) -> int:
    """A for a square crop."""
    return sum((size // s) ** 2 for s in STRIDES)


def assign(boxes: Boxes, background: Floats, size: int) -> Targets:
    """Targets for a square crop of `size` pixels.

    `background` [3] is how much a cell without object counts per class: 1 where the class is labelled, 0
    where nobody looked. Every box gets at least its nearest cell and at most 3x3 around its centre, on one or
    two strides; sure boxes win over doubts, smaller over larger.
    """
    total = cell_count(size)
    score = np.zeros((len(CLASSES), total), np.float32)
    weight = np.repeat(background[:, None], total, 1).astype(np.float32)
    owner = np.full((len(CLASSES), total), -1, np.int64)
    width = boxes.xyxy[:, 2] - boxes.xyxy[:, 0]
    height = boxes.xyxy[:, 3] - boxes.xyxy[:, 1]
    longest = np.maximum(width, height)
    start = 0
    grids = []
    for stride in STRIDES:
        side = size // stride
        grids.append((stride, side, start))
        start += side * side
    for i in np.flatnonzero(boxes.weight == 0):
        _ignore(weight[boxes.category[i]], boxes.xyxy[i], grids)
    objects = np.flatnonzero(boxes.weight > 0)
    area = (width * height)[objects]
    for i in objects[np.lexsort((-area, boxes.score[objects] >= DOUBT))]:
        x1, y1, x2, y2 = (float(v) for v in boxes.xyxy[i])
        cx, cy, category = (x1 + x2) / 2, (y1 + y2) / 2, int(boxes.category[i])
        for stride, side, first in grids:
            low, high = (HEAD_RANGE if category == HEAD else SIZE_RANGE)[stride]
            if not low <= longest[i] < high:
                continue
            rx = min(max(0.25 * (x2 - x1) / stride, 0.51), 1.5)
            ry = min(max(0.25 * (y2 - y1) / stride, 0.51), 1.5)
            gx, gy = cx / stride - 0.5, cy / stride - 0.5
            c0, c1 = max(0, int(np.ceil(gx - rx))), min(side - 1, int(np.floor(gx + rx)))
            r0, r1 = max(0, int(np.ceil(gy - ry))), min(side - 1, int(np.floor(gy + ry)))
            for r in range(r0, r1 + 1):
                cells = slice(first + r * side + c0, first + r * side + c1 + 1)
                score[category, cells] = boxes.score[i]
                weight[category, cells] = boxes.weight[i]
                owner[category, cells] = i
    of_class, cell = np.nonzero(owner >= 0)
    which = owner[of_class, cell]
    return Targets(score, weight, cell, of_class, boxes.xyxy[which], boxes.weight[which])


def _ignore(weight: Floats, box: Floats, grids: list[tuple[int, int, int]]) -> None:
    """Take the cells whose centres lie in the box out of the loss, at least the nearest one."""
    for stride, side, first in grids:
        g = box / stride - 0.5
        c0, r0 = (int(np.ceil(min(g[k], np.floor(0.5 + (g[k] + g[k + 2]) / 2)))) for k in (0, 1))
        c1, r1 = (int(np.floor(max(g[k + 2], c))) for k, c in ((0, c0), (1, r0)))
        c0, r0, c1, r1 = max(c0, 0), max(r0, 0), min(c1, side - 1), min(r1, side - 1)
        for r in range(r0, r1 + 1):
            weight[first + r * side + c0 : first + r * side + c1 + 1] = 0
