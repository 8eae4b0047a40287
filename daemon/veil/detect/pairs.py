"""Which boxes may overlap, without comparing all with all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Pairs = tuple[Indices, Indices]


def sharing_columns(boxes: Floats) -> Pairs:
    """Each pair of [N, 4] boxes that share a column of pixels, once: all others have nothing in common."""
    order = np.argsort(boxes[:, 0], kind="stable")
    starts = boxes[order, 0]
    places = np.arange(len(order))
    counts = np.maximum(np.searchsorted(starts, boxes[order, 2], side="left") - places - 1, 0)
    first = np.repeat(places, counts)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[first], order[second]


def common_area(boxes: Floats, pairs: Pairs) -> Floats:
    """Area that the two boxes of each pair share."""
    one, other = boxes[pairs[0]], boxes[pairs[1]]
    shared = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    np.maximum(shared, 0, out=shared)
    common: Floats = shared[:, 0] * shared[:, 1]
    return common
