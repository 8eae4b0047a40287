"""One answer from the whole frame and its tiles: cut objects joined, duplicates united, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.detect.decode import Found
from veil.detect.schedule import Tile

Bools = NDArray[np.bool_]
EDGE = 4.0
"""Pixels from a tile's inner edge within which a box counts as cut off by it."""
SAME_IOU = 0.45
SAME_COVERED = 0.8
CUT_COVERED = 0.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the frame found, in pixels of the frame; `tile` is None for the whole frame."""

    found: Found
    tile: Tile | None


def merge(seen: Sequence[Seen], width: int, height: int) -> Found:
    """The objects of a frame of `width` x `height`, each once.

    Boxes of one look are taken as they are. Boxes of different looks and the same class are united where they
    overlap as duplicates do, or where a tile's inner edge has cut one of them and half of the smaller lies in
    the other. A united box is the smallest around its parts and has their best score: every input box lies
    within an output box of its class whose score is no lower.
    """
    filled = [each for each in seen if len(each.found)]
    if not filled:
        return Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))
    if len(filled) == 1:
        return filled[0].found
    boxes = np.concatenate([each.found.boxes for each in filled])
    scores = np.concatenate([each.found.scores for each in filled])
    labels = np.concatenate([each.found.labels for each in filled])
    look = np.repeat(np.arange(len(filled)), [len(each.found) for each in filled])
    cut = np.concatenate([_cut(each, width, height) for each in filled])
    same = _same(boxes, cut) & (labels[:, None] == labels) & (look[:, None] != look)
    if not same.any():
        return Found(boxes, scores, labels)
    return _united(boxes, scores, labels, same)


def _cut(seen: Seen, width: int, height: int) -> Bools:
    """Which boxes touch an edge of their tile that is no edge of the frame."""
    tile, boxes = seen.tile, seen.found.boxes
    if tile is None:
        return np.zeros(len(boxes), np.bool_)
    cut: Bools = (
        ((boxes[:, 0] < tile.x0 + EDGE) & (tile.x0 > 0))
        | ((boxes[:, 1] < tile.y0 + EDGE) & (tile.y0 > 0))
        | ((boxes[:, 2] > tile.x1 - EDGE) & (tile.x1 < width))
        | ((boxes[:, 3] > tile.y1 - EDGE) & (tile.y1 < height))
    )
    return cut


def _same(boxes: NDArray[np.float32], cut: Bools) -> Bools:
    """[N, N], symmetric: which pairs are one object."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.maximum(high - low, 0)
    common = shared[..., 0] * shared[..., 1]
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area = sides[:, 0] * sides[:, 1]
    smaller = np.minimum(area[:, None], area)
    duplicate = common >= SAME_IOU * (area[:, None] + area - common)
    covered = common >= SAME_COVERED * smaller
    either_cut = cut[:, None] | cut
    # Two parts of a long object share only the tiles' overlap, but nearly all of their other side.
    least = np.minimum(sides[:, None, :], sides[None, :, :])
    aligned = (shared >= SAME_COVERED * least).any(axis=2) & cut[:, None] & cut
    joined = (either_cut & (common >= CUT_COVERED * smaller)) | aligned
    touching: Bools = (common > 0) & (duplicate | covered | joined)
    return touching


def _united(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.intp], same: Bools
) -> Found:
    group = _components(same)
    count = int(group.max()) + 1
    united = np.empty((count, 4), np.float32)
    united[:, :2], united[:, 2:] = np.inf, -np.inf
    np.minimum.at(united[:, :2], group, boxes[:, :2])
    np.maximum.at(united[:, 2:], group, boxes[:, 2:])
    best = np.zeros(count, np.float32)
    np.maximum.at(best, group, scores)
    kinds = np.zeros(count, np.intp)
    kinds[group] = labels
    return Found(united, best, kinds)


def _components(same: Bools) -> NDArray[np.intp]:
    """Number of the connected group of each index, counted from zero in order of first members."""
    group = np.full(len(same), -1, np.intp)
    count = 0
    for first in range(len(same)):
        if group[first] >= 0:
            continue
        waiting = [first]
        group[first] = count
        while waiting:
            fresh = np.flatnonzero(same[waiting.pop()] & (group < 0))
            group[fresh] = count
            waiting.extend(fresh.tolist())
        count += 1
    return group
