"""Which detection belongs to which track: one to one, within a class, good pairs first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.track.motion import Floats, Rows, size_of

NEAREST_GATE, FURTHEST_GATE = 0.3, 3.0
"""Bounds, in sizes, of how far a detection may lie from the prediction when the boxes do not overlap."""
GATE_SIGMAS = 2.0
LIKE_SIZE = 2.0
"""Boxes that only lie near each other need sizes within this factor."""
DUPLICATE_IOU, DUPLICATE_INSIDE = 0.65, 0.85


@dataclass(frozen=True, slots=True)
class Pairs:
    """Matched indices, and which of the pairs hang together by distance alone."""

    tracks: NDArray[np.int64]
    detections: NDArray[np.int64]
    apart: NDArray[np.bool_]


def overlap(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """IoU, and intersection over the smaller box: shape (len(first), len(second)) each."""
    width = np.minimum(first[:, None, 2], second[None, :, 2]) - np.maximum(
        first[:, None, 0], second[None, :, 0]
    )
    height = np.minimum(first[:, None, 3], second[None, :, 3]) - np.maximum(
        first[:, None, 1], second[None, :, 1]
    )
    common = np.maximum(width, 0) * np.maximum(height, 0)
    area_1 = ((first[:, 2] - first[:, 0]) * (first[:, 3] - first[:, 1]))[:, None]
    area_2 = ((second[:, 2] - second[:, 0]) * (second[:, 3] - second[:, 1]))[None, :]
    iou = common / np.maximum(area_1 + area_2 - common, 1e-9)
    inside = common / np.maximum(np.minimum(area_1, area_2), 1e-9)
    return iou, inside


def match(
    rows: Rows, kinds: NDArray[np.int64], boxes: Floats, strong: NDArray[np.bool_], *, match_iou: float
) -> Pairs:
    """Pairs predicted `rows` with detections; strong detections choose before weak ones.

    A pair needs an IoU of `match_iou`, or like sizes and a distance that the prediction's own uncertainty
    explains: that is what holds small fast objects at low frame rates.
    """
    nothing = np.zeros(0, np.int64)
    if not len(rows) or not len(boxes):
        return Pairs(nothing, nothing, np.zeros(0, np.bool_))
    at, to = _near(rows, kinds, boxes)
    here, there = rows[at], boxes[to]
    width, height = there[:, 2] - there[:, 0], there[:, 3] - there[:, 1]
    apart_x = np.abs(here["cx"] - (there[:, 0] + there[:, 2]) / 2)
    apart_y = np.abs(here["cy"] - (there[:, 1] + there[:, 3]) / 2)
    common = np.clip((here["w"] + width) / 2 - apart_x, 0, np.minimum(here["w"], width))
    common *= np.clip((here["h"] + height) / 2 - apart_y, 0, np.minimum(here["h"], height))
    iou = common / np.maximum(here["w"] * here["h"] + width * height - common, 1e-9)
    size, seen_size = size_of(here), np.maximum((width + height) / 2, 1.0)
    larger = np.maximum(size, seen_size)
    distance = np.hypot(apart_x, apart_y) / larger
    like = larger <= LIKE_SIZE * np.minimum(size, seen_size)
    overlapping = iou >= match_iou
    allowed = np.flatnonzero(overlapping | ((distance <= _gate(here)) & like))
    cost = 1 - iou[allowed] + distance[allowed] + np.where(strong[to[allowed]], 0.0, 100.0)
    order = allowed[np.argsort(cost, kind="stable")]
    free_rows, free_boxes = [True] * len(rows), [True] * len(boxes)
    taken: list[int] = []
    for pair, row, box in zip(order.tolist(), at[order].tolist(), to[order].tolist(), strict=True):
        if free_rows[row] and free_boxes[box]:
            free_rows[row] = free_boxes[box] = False
            taken.append(pair)
    pairs = np.array(taken, np.int64)
    return Pairs(at[pairs], to[pairs], ~overlapping[pairs])


def _gate(rows: Rows) -> Floats:
    """How far, in sizes, a detection may lie from each prediction."""
    gate: Floats = np.clip(GATE_SIGMAS * np.sqrt(rows["pp"]), NEAREST_GATE, FURTHEST_GATE)
    return gate


def _near(rows: Rows, kinds: NDArray[np.int64], boxes: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of all pairs of one class that overlap or may be within the gate: few of all."""
    gate = LIKE_SIZE * _gate(rows) * size_of(rows)
    near = rows["kind"][:, None] == kinds
    for centre, side, low, high in (("cx", "w", 0, 2), ("cy", "h", 1, 3)):
        middle, half = (boxes[:, low] + boxes[:, high]) / 2, (boxes[:, high] - boxes[:, low]) / 2
        reach = np.maximum(rows[side] / 2, gate)
        near &= np.abs(rows[centre][:, None] - middle) <= reach[:, None] + half
    at, to = np.nonzero(near)
    return at, to


def duplicates(
    kinds: NDArray[np.int64], boxes: Floats, scores: Floats, claimed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """For each detection, the index of the one it repeats, or its own.

    A detection in `claimed` (it belongs to a track already) repeats nothing; any other one repeats a claimed
    or better one that it overlaps nearly whole.
    """
    same = np.arange(len(boxes))
    loose = np.flatnonzero(~claimed)
    if not loose.size or len(boxes) < 2:
        return same
    iou, inside = overlap(boxes[loose], boxes)
    alike = ((iou >= DUPLICATE_IOU) | (inside >= DUPLICATE_INSIDE)) & (
        kinds[loose][:, None] == kinds[None, :]
    )
    settled = claimed.copy()
    for at in np.argsort(-scores[loose], kind="stable").tolist():
        index = int(loose[at])
        others = np.flatnonzero(alike[at] & settled)
        if others.size:
            same[index] = int(others[np.argmax(iou[at, others])])
        else:
            settled[index] = True
    return same
