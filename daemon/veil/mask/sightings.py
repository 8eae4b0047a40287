"""All sightings around one frame, as flat arrays with one group a track: what its neighbours say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIT_S = 0.3
"""Sightings after the first one, in seconds, that say how a new track moves."""
UNKNOWN_SPEED = 2.0
"""Sizes a second that a new track may have moved while its own motion is not known."""
JITTER = 0.06
"""Sizes (one standard deviation) by which a detection's place and size are uncertain."""
MOST_SHRINK = 2.0
"""A new track that shrinks is not taken to have been larger before by more than this factor."""
MAX_LAG = 0.25
"""Sizes between a detection's centre and its smoothed one."""
FEW = 1e-9


@dataclass(frozen=True, slots=True)
class Line:
    """Least squares `value = start + slope * time` for each group.

    Attributes:
        start, slope: shape (groups, values); slope 0 where all times of a group are the same.
        spread: shape (groups,): sum of squared distances of the times from their mean, s^2.
    """

    start: Floats
    slope: Floats
    spread: Floats


def fit(groups: Ints, count: int, time_s: Floats, values: Floats) -> Line:
    """Lines through `values` (rows, k) over `time_s` (rows,) for groups 0..count-1."""

    def total(weights: Floats | None) -> Floats:
        return np.bincount(groups, weights, minlength=count).astype(np.float64)

    number, times = np.maximum(total(None), 1), total(time_s)
    middle = times / number
    away = time_s - middle[groups]
    spread = total(away * away)
    means = np.stack([total(column) / number for column in values.T], axis=1)
    products = np.stack([total(away * column) for column in values.T], axis=1)
    slope = np.where(spread[:, None] > FEW, products / np.maximum(spread, FEW)[:, None], 0.0)
    return Line(means - slope * middle[:, None], slope, spread)


@dataclass(frozen=True, slots=True)
class Sightings:
    """Detections' boxes in order of time.

    Attributes:
        ids: track of each row.
        time_s: seconds after the frame in question; negative for earlier frames, 0 for its own.
        shapes: centre x, centre y, width, height in pixels, shape (rows, 4).
    """

    ids: Ints
    time_s: Floats
    shapes: Floats


@dataclass(frozen=True, slots=True)
class Places:
    """Where tracks are in the frame in question, by what its neighbours say.

    Attributes:
        ids: shape (n,). boxes: corners in pixels, shape (n, 4).
    """

    ids: Ints
    boxes: Floats


def places(sightings: Sightings, *, smooth_s: float, reach_s: float, growth_per_s: float) -> Places:
    """Boxes: smoothed for tracks seen now, interpolated in gaps, extrapolated before a first sighting.

    Args:
        smooth_s: how far to both sides sizes and centres count.
        reach_s: how long before its first sighting a track is covered.
        growth_per_s: share of the size per second of distance from the nearest sighting.
    """
    ids, groups = np.unique(sightings.ids, return_inverse=True)
    time_s, shapes, count = sightings.time_s, sightings.shapes, len(ids)
    before = _last_of(np.flatnonzero(time_s < 0), groups, count)
    now = _last_of(np.flatnonzero(time_s == 0), groups, count)
    after = _last_of(np.flatnonzero(time_s > 0)[::-1], groups, count)
    seen = np.flatnonzero(now >= 0)
    gap = np.flatnonzero((now < 0) & (before >= 0) & (after >= 0))
    ahead = np.flatnonzero((now < 0) & (before < 0) & (after >= 0))
    ahead = ahead[time_s[after[ahead]] <= reach_s]
    parts = [
        (seen, _smoothed(groups, count, time_s, shapes, now, smooth_s)),
        (gap, _between(time_s, shapes, before, after, growth_per_s)),
        (ahead, _earlier(groups, count, time_s, shapes, after, growth_per_s)),
    ]
    return Places(
        np.concatenate([ids[which] for which, _ in parts]),
        np.concatenate([boxes[which] for which, boxes in parts]),
    )


def _last_of(rows: Ints, groups: Ints, count: int) -> Ints:
    """For each group the last of `rows` in it, or -1."""
    found = np.full(count, -1, np.int64)
    found[groups[rows]] = rows
    return found


def _corners(centres: Floats, sizes: Floats) -> Floats:
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)


def _mean_size(sizes: Floats) -> Floats:
    return (sizes[:, :1] + sizes[:, 1:]) / 2


def _smoothed(groups: Ints, count: int, time_s: Floats, shapes: Floats, now: Ints, smooth_s: float) -> Floats:
    """The largest size of the neighbours around the centre that a line through them gives."""
    near = np.flatnonzero(np.abs(time_s) <= smooth_s)
    sizes = np.zeros((count, 2))
    np.maximum.at(sizes, groups[near], shapes[near, 2:])
    own = shapes[now, :2]
    limit = MAX_LAG * _mean_size(shapes[now, 2:])
    line = fit(groups[near], count, time_s[near], shapes[near, :2])
    return _corners(own + np.clip(line.start - own, -limit, limit), sizes)


def _between(time_s: Floats, shapes: Floats, before: Ints, after: Ints, growth_per_s: float) -> Floats:
    """On the line between the two sightings, as large as the larger one, grown towards the middle."""
    past_s, future_s = -time_s[before], time_s[after]
    share = (past_s / np.maximum(past_s + future_s, FEW))[:, None]
    centres = shapes[before, :2] * (1 - share) + shapes[after, :2] * share
    growth = 1 + 2 * growth_per_s * np.minimum(past_s, future_s)
    return _corners(centres, np.maximum(shapes[before, 2:], shapes[after, 2:]) * growth[:, None])


def _earlier(
    groups: Ints, count: int, time_s: Floats, shapes: Floats, after: Ints, growth_per_s: float
) -> Floats:
    """Back along the first sightings' line, grown by what the speed may be wrong by."""
    first_s = time_s[after]
    rows = np.flatnonzero((time_s > 0) & (time_s <= first_s[groups] + FIT_S))
    line = fit(groups[rows], count, time_s[rows], shapes[rows])
    first = shapes[after]
    ago = first_s[:, None]
    larger = np.clip(-line.slope[:, 2:], 0, None) * ago
    sizes = np.minimum(first[:, 2:] + larger, MOST_SHRINK * first[:, 2:])
    doubt = np.minimum(UNKNOWN_SPEED, 1.5 * JITTER / np.sqrt(np.maximum(line.spread, FEW)))[:, None]
    room = 2 * ago * (doubt * _mean_size(first[:, 2:]) + growth_per_s * sizes)
    limit = MAX_LAG * _mean_size(first[:, 2:])
    at_first = line.start[:, :2] + line.slope[:, :2] * ago
    centres = first[:, :2] + np.clip(at_first - first[:, :2], -limit, limit) - line.slope[:, :2] * ago
    return _corners(centres, sizes + room)
