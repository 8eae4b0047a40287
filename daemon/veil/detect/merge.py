"""One answer from the whole frame and its tiles: cut objects joined, duplicates united, nothing lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.detect.decode import Found
from veil.detect.pairs import Floats, Indices, Pairs, sharing_columns
from veil.detect.schedule import Tile

Bools = NDArray[np.bool_]

EDGE = 4.0
"""Pixels from a tile's inner edge within which a box counts as cut off by it."""
SAME_IOU = 0.45
SAME_COVERED = 0.8
CUT_COVERED = 0.5
SAME_TIMES_LARGER = 2.5
"""A box that lies in one larger than this many times is another object, or one of the two is wrong."""
SIDES_AGREE = 0.6
SCORES_AGREE = 0.5
"""A weak box does not enlarge one that is sure of itself by more than this factor."""
MAX_PAIRS = 500_000
"""Pairs of boxes that are compared. Beyond, duplicates stay: more is hidden twice, nothing is lost."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the frame found, in pixels of the frame; `tile` is None for the whole frame."""

    found: Found
    tile: Tile | None


def merge(seen: Sequence[Seen], width: int, height: int) -> Found:
    """The objects of a frame of `width` x `height`, each once.

    Boxes of one look are taken as they are. Boxes of different looks and the same class are united where they
    overlap as duplicates do, or where a tile's inner edge has cut the smaller one, half of it lies in the
    other, and a side and the scores agree. A united box is the smallest around its parts and has their best
    score: every input box lies within an output box of its class whose score is no lower. Over MAX_PAIRS
    nothing is united.
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
    pairs = sharing_columns(boxes)
    if len(pairs[0]) > MAX_PAIRS:
        return Found(boxes, scores, labels)
    pairs = _where(pairs, (labels[pairs[0]] == labels[pairs[1]]) & (look[pairs[0]] != look[pairs[1]]))
    pairs = _where(pairs, _same(boxes, scores, cut, pairs))
    if not len(pairs[0]):
        return Found(boxes, scores, labels)
    return _united(boxes, scores, labels, _groups(len(boxes), pairs))


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


def _where(pairs: Pairs, chosen: Bools) -> Pairs:
    return pairs[0][chosen], pairs[1][chosen]


def _same(boxes: Floats, scores: Floats, cut: Bools, pairs: Pairs) -> Bools:
    """Which pairs are one object."""
    one, other = boxes[pairs[0]], boxes[pairs[1]]
    shared = np.maximum(np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]), 0)
    one_sides, other_sides = one[:, 2:] - one[:, :2], other[:, 2:] - other[:, :2]
    one_area, other_area = one_sides.prod(axis=1), other_sides.prod(axis=1)
    common = shared.prod(axis=1)
    smaller, larger = np.minimum(one_area, other_area), np.maximum(one_area, other_area)
    duplicate = common >= SAME_IOU * (one_area + other_area - common)
    covered = (common >= SAME_COVERED * smaller) & (larger <= SAME_TIMES_LARGER * smaller)
    one_cut, other_cut = cut[pairs[0]], cut[pairs[1]]
    sides_agree = np.minimum(one_sides, other_sides) >= SIDES_AGREE * np.maximum(one_sides, other_sides)
    piece = (one_cut & (one_area <= other_area)) | (other_cut & (other_area <= one_area))
    joined = piece & (common >= CUT_COVERED * smaller) & sides_agree.any(axis=1)
    # Two parts of a long object share only the tiles' overlap, but nearly all of their other side.
    aligned = (shared >= SAME_COVERED * np.minimum(one_sides, other_sides)) & sides_agree
    parts = aligned.any(axis=1) & one_cut & other_cut
    one_score, other_score = scores[pairs[0]], scores[pairs[1]]
    agree = np.minimum(one_score, other_score) >= SCORES_AGREE * np.maximum(one_score, other_score)
    same: Bools = (common > 0) & (duplicate | ((covered | joined | parts) & agree))
    return same


def _groups(count: int, pairs: Pairs) -> Indices:
    """For each of `count` boxes the number of its connected group, from zero without gaps."""
    lowest = np.arange(count)
    while True:
        before = lowest.copy()
        least = np.minimum(lowest[pairs[0]], lowest[pairs[1]])
        np.minimum.at(lowest, pairs[0], least)
        np.minimum.at(lowest, pairs[1], least)
        lowest = lowest[lowest]
        if np.array_equal(before, lowest):
            return np.unique(lowest, return_inverse=True)[1]


def _united(boxes: Floats, scores: Floats, labels: Indices, group: Indices) -> Found:
    count = int(np.max(group)) + 1
    low, high = np.full((count, 2), np.inf, np.float32), np.full((count, 2), -np.inf, np.float32)
    np.minimum.at(low, group, boxes[:, :2])
    np.maximum.at(high, group, boxes[:, 2:])
    best = np.zeros(count, np.float32)
    np.maximum.at(best, group, scores)
    kinds = np.zeros(count, np.intp)
    kinds[group] = labels
    return Found(np.concatenate([low, high], axis=1), best, kinds)
