"""The motion model: tracks as rows of one array, moved on by any time step.

Position and velocity of each centre are a constant-velocity Kalman filter whose noise is in shares of the
object's own size, so that one set of numbers fits a near face and a far plate, 5 and 60 frames a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
Floats = NDArray[np.float64]

TRACK = np.dtype(
    [
        ("id", np.int64),
        ("kind", np.int64),
        ("cx", np.float64),
        ("cy", np.float64),
        ("vx", np.float64),
        ("vy", np.float64),
        ("w", np.float64),
        ("h", np.float64),
        # covariance of position and velocity, in sizes and seconds, the same for both axes
        ("pp", np.float64),
        ("pv", np.float64),
        ("vv", np.float64),
        # centre at the last sighting
        ("lx", np.float64),
        ("ly", np.float64),
        ("score", np.float64),
        ("hits", np.int64),
        ("sure", np.bool_),
        ("confirmed", np.bool_),
        ("first_ns", np.int64),
        ("last_ns", np.int64),
    ]
)

ACCELERATION = 12.0
"""Process noise, sizes/s^2: a face that starts to walk, a car that turns."""
UNKNOWN_SPEED = 10.0
"""What the speed of something seen once may be, sizes/s (one standard deviation)."""
MAX_SPEED = 60.0
"""No velocity is believed beyond it, sizes/s: a plate at 30 m/s moves about that many of its widths."""
MAX_LAG = 0.25
"""How far, in sizes, the smoothed centre may lie from the detection's."""
MAX_DOUBT = 0.03
"""How much, in sizes on each side, the filter's own doubt of a place widens a box that is not seen."""
BASELINE_S = 0.25
"""For how long something has to be seen until its speed is taken for what it was; before, for a share of it.
Two sightings 33 ms apart say nothing: what a box jitters by would be 2 sizes/s."""
SIZE_DECAY_S = 0.3
"""Time constant with which a smoothed size follows a smaller detection, for `smoothing` 0.5."""


def size_of(rows: Rows) -> Floats:
    """Mean of width and height, pixels, at least one."""
    size: Floats = np.maximum((rows["w"] + rows["h"]) / 2, 1.0)
    return size


def born(kinds: NDArray[np.int64], boxes: Floats, scores: Floats, *, noise: float, now_ns: int) -> Rows:
    """Rows, without an id yet, for detections seen for the first time; `boxes` of shape (n, 4) in pixels."""
    rows = np.zeros(len(boxes), TRACK)
    rows["kind"] = kinds
    rows["cx"] = rows["lx"] = (boxes[:, 0] + boxes[:, 2]) / 2
    rows["cy"] = rows["ly"] = (boxes[:, 1] + boxes[:, 3]) / 2
    rows["w"] = boxes[:, 2] - boxes[:, 0]
    rows["h"] = boxes[:, 3] - boxes[:, 1]
    rows["pp"] = noise**2
    rows["vv"] = UNKNOWN_SPEED**2
    rows["score"] = scores
    rows["hits"] = 1
    rows["first_ns"] = rows["last_ns"] = now_ns
    return rows


def predict(rows: Rows, dt_s: float) -> None:
    """Moves all rows on by `dt_s` in place."""
    if dt_s <= 0 or not len(rows):
        return
    rows["cx"] += rows["vx"] * dt_s
    rows["cy"] += rows["vy"] * dt_s
    power = ACCELERATION**2
    rows["pp"] += 2 * dt_s * rows["pv"] + dt_s**2 * rows["vv"] + power * dt_s**4 / 4
    rows["pv"] += dt_s * rows["vv"] + power * dt_s**3 / 2
    rows["vv"] = np.minimum(rows["vv"] + power * dt_s**2, UNKNOWN_SPEED**2)
    rows["pv"] = np.minimum(rows["pv"], np.sqrt(rows["pp"] * rows["vv"]))


def correct(rows: Rows, boxes: Floats, *, noise: float, size_decay_s: float, now_ns: int) -> Rows:
    """`rows` after sightings `boxes` (one each, shape (n, 4)); noise in sizes.

    Sizes grow at once and shrink with `size_decay_s`; they are never smaller than the sighting's.
    """
    rows = rows.copy()
    since_s = (now_ns - rows["last_ns"]) / 1e9
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    stay = np.exp(-since_s / size_decay_s) if size_decay_s > 0 else np.zeros(len(rows))
    rows["w"] = np.maximum(width, width + (rows["w"] - width) * stay)
    rows["h"] = np.maximum(height, height + (rows["h"] - height) * stay)
    size = size_of(rows)
    total = rows["pp"] + noise**2
    position_gain, velocity_gain = rows["pp"] / total, rows["pv"] / total
    for centre, speed, last, low, high in (("cx", "vx", "lx", 0, 2), ("cy", "vy", "ly", 1, 3)):
        seen = (boxes[:, low] + boxes[:, high]) / 2
        miss = seen - rows[centre]
        lag = np.clip((1 - position_gain) * miss, -MAX_LAG * size, MAX_LAG * size)
        rows[centre] = rows[last] = seen - lag
        rows[speed] = np.clip(rows[speed] + velocity_gain * miss, -MAX_SPEED * size, MAX_SPEED * size)
    rows["vv"] = np.maximum(rows["vv"] - velocity_gain * rows["pv"], 0)
    rows["pv"] *= 1 - position_gain
    rows["pp"] *= 1 - position_gain
    rows["hits"] += 1
    rows["last_ns"] = now_ns
    return rows


def boxes_of(rows: Rows, *, now_ns: int, growth_per_s: float, trail: float) -> Floats:
    """Shape (n, 4): where each row is now, grown for the time unseen and for the doubt of its place.

    `trail` is the share (0..1) of the predicted way that a slower object may have gone: the box reaches from
    there to the prediction. What was seen for less than BASELINE_S is predicted to go as much less far.
    """
    unseen_s = (now_ns - rows["last_ns"]) / 1e9
    doubt = np.where(unseen_s > 0, np.minimum(np.sqrt(rows["pp"]), MAX_DOUBT), 0.0)
    half = 0.5 + growth_per_s * unseen_s + doubt
    known = np.minimum((rows["last_ns"] - rows["first_ns"]) / (1e9 * BASELINE_S), 1.0)
    way_x, way_y = known * (rows["cx"] - rows["lx"]), known * (rows["cy"] - rows["ly"])
    return np.stack(
        [
            rows["lx"] + np.minimum(way_x, trail * way_x) - half * rows["w"],
            rows["ly"] + np.minimum(way_y, trail * way_y) - half * rows["h"],
            rows["lx"] + np.maximum(way_x, trail * way_x) + half * rows["w"],
            rows["ly"] + np.maximum(way_y, trail * way_y) + half * rows["h"],
        ],
        axis=1,
    )
