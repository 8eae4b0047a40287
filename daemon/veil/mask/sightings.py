"""All sightings around one frame, as flat arrays with one group a track: what its neighbours say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIT_S = 0.3
"""Sightings after the first one, in seconds, that say how a new track moves."""
LIKELY_SPEED = 0.7
"""Sizes a second that things move (one standard deviation) as far as their sightings do not say more."""
SURE_SPEED = 2.0
"""Standard deviations from which a speed is taken to be the thing's own and not its box's jitter."""
JITTER = 0.06
"""Sizes (one standard deviation) by which a detection's place and size are uncertain."""
MOST_SHRINK = 2.0
"""A new track that shrinks is not taken to have been larger before by more than this factor."""
STEADY = 1.0
"""Standard deviations over the mean of its neighbours' sizes by which a smoothed box is as large."""
MAX_LAG = 0.25
"""Sizes between a detection's centre and its smoothed one."""
FEW = 1e-9
_WIDEST_SPAN = 1 << 16


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

    def of(self, groups: Ints) -> Line:
        """Those of `groups` alone."""
        return Line(self.start[groups], self.slope[groups], self.spread[groups])


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
    ids, groups = _grouped(sightings.ids)
    time_s, shapes, count = sightings.time_s, sightings.shapes, len(ids)
    before = _last_of(np.flatnonzero(time_s < 0), groups, count)
    now = _last_of(np.flatnonzero(time_s == 0), groups, count)
    after = _last_of(np.flatnonzero(time_s > 0)[::-1], groups, count)
    seen = np.flatnonzero(now >= 0)
    gap = np.flatnonzero((now < 0) & (before >= 0) & (after >= 0))
    ahead = np.flatnonzero((now < 0) & (before < 0) & (after >= 0))
    ahead = ahead[time_s[after[ahead]] <= reach_s]
    boxes = [
        _smoothed(groups, count, time_s, shapes, now[seen], smooth_s),
        _between(time_s, shapes, before[gap], after[gap], growth_per_s),
        _earlier(groups, count, time_s, shapes, after[ahead], growth_per_s),
    ]
    return Places(ids[np.concatenate([seen, gap, ahead])], np.concatenate(boxes))


def _grouped(ids: Ints) -> tuple[Ints, Ints]:
    """The different `ids`, rising, and for each row its place among them."""
    if not len(ids):
        return ids, ids
    first = int(np.min(ids))
    span = int(np.max(ids)) - first + 1
    if span > _WIDEST_SPAN:
        return np.unique(ids, return_inverse=True)
    # Ids of one window lie close together: counting is several times as fast as sorting.
    there = np.zeros(span, np.bool_)
    there[ids - first] = True
    return np.flatnonzero(there) + first, (np.cumsum(there) - 1)[ids - first]


def _last_of(rows: Ints, groups: Ints, count: int) -> Ints:
    """For each group the last of `rows` in it, or -1."""
    found = np.full(count, -1, np.int64)
    found[groups[rows]] = rows
    return found


def _chosen(groups: Ints, count: int, some: Ints, rows: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """The groups of the rows `some`, and those of `rows` that are in one of these groups."""
    wanted = groups[some]
    is_wanted = np.zeros(count, np.bool_)
    is_wanted[wanted] = True
    return wanted, np.flatnonzero(rows & is_wanted[groups])


def _corners(centres: Floats, sizes: Floats) -> Floats:
    return np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)


def _mean_size(sizes: Floats) -> Floats:
    return (sizes[:, :1] + sizes[:, 1:]) / 2


def _smoothed(groups: Ints, count: int, time_s: Floats, shapes: Floats, now: Ints, smooth_s: float) -> Floats:
    """The neighbours' size around the centre that a line through them gives, for rows `now`.

    The size is the mean and STEADY standard deviations: one box that is far too large does not make all of
    its neighbours so.
    """
    if not len(now):
        return np.zeros((0, 4))
    wanted, near = _chosen(groups, count, now, np.abs(time_s) <= smooth_s)
    of_row = groups[near]
    number = np.maximum(np.bincount(of_row, minlength=count), 1)
    sizes = np.zeros((count, 2))
    for side, column in enumerate(shapes[near, 2:].T):
        mean = np.bincount(of_row, column, minlength=count) / number
        variance = np.bincount(of_row, (column - mean[of_row]) ** 2, minlength=count) / number
        sizes[:, side] = mean + STEADY * np.sqrt(variance)
    own = shapes[now, :2]
    limit = MAX_LAG * _mean_size(shapes[now, 2:])
    line = fit(of_row, count, time_s[near], shapes[near, :2])
    return _corners(own + np.clip(line.start[wanted] - own, -limit, limit), sizes[wanted])


def _between(time_s: Floats, shapes: Floats, before: Ints, after: Ints, growth_per_s: float) -> Floats:
    """On the line between rows `before` and `after`, as large as the larger one, grown towards the middle."""
    past_s, future_s = -time_s[before], time_s[after]
    share = (past_s / np.maximum(past_s + future_s, FEW))[:, None]
    centres = shapes[before, :2] * (1 - share) + shapes[after, :2] * share
    growth = 1 + 2 * growth_per_s * np.minimum(past_s, future_s)
    return _corners(centres, np.maximum(shapes[before, 2:], shapes[after, 2:]) * growth[:, None])


def _earlier(
    groups: Ints, count: int, time_s: Floats, shapes: Floats, after: Ints, growth_per_s: float
) -> Floats:
    """Back along the line of the first sightings, rows `after`, grown by what the speed may be wrong by."""
    if not len(after):
        return np.zeros((0, 4))
    first_s = time_s[after]
    until_s = np.zeros(count)
    until_s[groups[after]] = first_s + FIT_S
    wanted, rows = _chosen(groups, count, after, (time_s > 0) & (time_s <= until_s[groups]))
    line = fit(groups[rows], count, time_s[rows], shapes[rows]).of(wanted)
    first = shapes[after]
    ago, size = first_s[:, None], _mean_size(first[:, 2:])
    believed, doubt = _motion(line, size)
    larger = np.clip(-line.slope[:, 2:] * believed, 0, None) * ago
    sizes = np.minimum(first[:, 2:] + larger, MOST_SHRINK * first[:, 2:])
    room = 2 * ago * (doubt * size + growth_per_s * sizes)
    limit = MAX_LAG * size
    at_first = line.start[:, :2] + line.slope[:, :2] * ago
    centres = first[:, :2] + np.clip(at_first - first[:, :2], -limit, limit)
    return _corners(centres - line.slope[:, :2] * believed * ago, sizes + room)


def _motion(line: Line, size: Floats) -> tuple[Floats, Floats]:
    """Which share of each line's slope is believed, and by how many sizes a second it may be wrong.

    A line through few sightings is mostly the jitter of their boxes. It is weighed against LIKELY_SPEED, as a
    filter would; but a speed that jitter does not explain is believed, however great it is.
    """
    variance = JITTER**2 / np.maximum(line.spread, FEW)[:, None]
    speed = (line.slope[:, :2] ** 2).sum(axis=1, keepdims=True) / size**2
    usual = LIKELY_SPEED**2 / (LIKELY_SPEED**2 + variance)
    believed = np.maximum(usual, 1 - SURE_SPEED**2 * variance / np.maximum(speed, FEW))
    return believed, LIKELY_SPEED * np.sqrt(1 - usual)
