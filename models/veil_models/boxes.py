"""Box arithmetic on arrays; boxes are [N, 4] x1, y1, x2, y2 in pixels unless said otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def iou_matrix(a: Array, b: Array) -> Array:
    """Intersection over union of every box in `a` [N, 4] with every box in `b` [M, 4]: [N, M]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = np.clip(high - low, 0, None).prod(2)
    area_a = np.clip(a[:, 2:4] - a[:, :2], 0, None).prod(1)
    area_b = np.clip(b[:, 2:4] - b[:, :2], 0, None).prod(1)
    union = area_a[:, None] + area_b[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def nms(boxes: Array, scores: Array, iou: float, keep_at_most: int = 2000) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression: indices kept, best score first."""
    if len(boxes) == 0:
        return np.zeros(0, np.int64)
    sized = np.concatenate([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2]], 1)
    kept = cv2.dnn.NMSBoxes(sized.tolist(), scores.tolist(), 0.0, iou, top_k=keep_at_most)
    return np.asarray(kept, np.int64).reshape(-1)


def clusters(boxes: Array, same: float) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of boxes that are one thing: each box, the best of which come first, takes all that are left
    and overlap it by `same` (IoU)."""
    free = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if free[i]:
            rest = np.flatnonzero(free)
            members = rest[iou_matrix(boxes[i : i + 1], boxes[rest])[0] >= same]
            free[members] = False
            yield members


def centred_in(boxes: Array, regions: Array) -> npt.NDArray[np.bool_]:
    """Which of `boxes` [N, 4] have their centre in one of `regions` [M, 4]."""
    centre = ((boxes[:, :2] + boxes[:, 2:4]) / 2)[:, None]
    inside: npt.NDArray[np.bool_] = ((regions[:, :2] < centre) & (centre < regions[:, 2:4])).all(2).any(1)
    return inside
