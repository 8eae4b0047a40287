"""Detections to tracks, for hiding rather than for counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veil.config import TrackerConfig
from veil.domain.clock import NANOSECONDS
from veil.domain.detection import KINDS, Detection, DetectionTable, ObjectClass
from veil.domain.thresholds import ClassThresholds
from veil.domain.track import TrackTable
from veil.errors import DetectorError
from veil.track import motion
from veil.track.match import duplicates, match
from veil.track.motion import SIZE_DECAY_S, TRACK, Floats, Rows

MAX_TRACKS = 512
"""What is remembered at most. More detections than that are masked in their frame, and not held."""
FURTHEST = 1e6
"""Coordinates are clipped to it, in pixels, so that extreme boxes can be computed with."""
MAX_CANDIDATES = 16
"""Candidates that begin in one frame at most, the best ones: they cost time, and most come to nothing."""
CANDIDATE_HOLD_NS = NANOSECONDS // 5
"""For how long a candidate is remembered that is not seen again."""
TRAIL = 0.5
"""A held box also covers an object that goes on at this share of its speed."""

_EVERYTHING = ClassThresholds(score=0.0, low=0.0)


class Tracker:
    """Follows what the detector finds in one camera. Pure: the media time is given, nothing is read.

    A first hit at or above `score` is a track at once. Scores down to `low` extend tracks, forwards and, by
    way of candidates, backwards: what scores less than `score` and belongs to no track begins a candidate,
    which masks nothing, and which the first hit at or above `score` confirms. A track not seen is held for
    `hold_s` seconds of media time (a candidate for less); its box follows its motion, stretches back to where
    it would be if it slowed down, and grows on each side by `growth_per_s` of its size a second. A seen
    track's box is the union of detection and smoothed prediction. Where a track is found again only near
    where it was expected, the expected place stays held as a track of its own: somebody may still be there.

    Args:
        config: hold, growth, matching, smoothing.
        thresholds: per class; a class that is missing masks at any score.
    """

    def __init__(self, config: TrackerConfig, thresholds: Mapping[ObjectClass, ClassThresholds]) -> None:
        limits = [thresholds.get(kind, _EVERYTHING) for kind in KINDS]
        self._score = np.array([limit.score for limit in limits])
        self._low = np.array([limit.low for limit in limits])
        self._min_size = np.array([limit.min_size for limit in limits])
        self._hold_ns = int(config.hold_s * NANOSECONDS)
        self._growth_per_s = config.growth_per_s
        self._match_iou = config.match_iou
        self._noise = 0.02 + 0.1 * config.smoothing
        self._size_decay_s = SIZE_DECAY_S * config.smoothing / (1 - config.smoothing)
        self._next_id = 1
        self._rows: Rows = np.zeros(0, TRACK)
        self._now_ns: int | None = None

    def reset(self) -> None:
        """Forgets all tracks (another picture, another time). Ids go on."""
        self._rows = np.zeros(0, TRACK)
        self._now_ns = None

    def update(self, detections: Sequence[Detection], now_ns: int) -> TrackTable:
        """Tracks at the frame of media time `now_ns`; a time before the last one resets first.

        Raises DetectorError for boxes or scores that are not finite; tracks are as they were then.
        """
        found = _upright(DetectionTable.of(detections))
        if self._now_ns is not None and now_ns < self._now_ns:
            self.reset()
        before_ns = now_ns if self._now_ns is None else self._now_ns
        self._now_ns = now_ns
        hold_ns = np.where(self._rows["confirmed"], self._hold_ns, min(CANDIDATE_HOLD_NS, self._hold_ns))
        self._rows = self._rows[now_ns - self._rows["last_ns"] <= hold_ns]
        motion.predict(self._rows, (now_ns - before_ns) / NANOSECONDS)

        found = found.rows(found.scores >= self._low[found.kinds])
        shorter = (found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=FURTHEST)
        strong = (found.scores >= self._score[found.kinds]) & (shorter >= self._min_size[found.kinds])
        tracks = self._tracks(self._assign(found, strong, now_ns), now_ns)
        if len(self._rows) > MAX_TRACKS:
            # what was too much to remember has been masked, and is forgotten
            order = np.lexsort((-self._rows["last_ns"], ~self._rows["confirmed"]))
            self._rows = self._rows[order[:MAX_TRACKS]]
        return tracks

    def _assign(self, found: DetectionTable, strong: NDArray[np.bool_], now_ns: int) -> Floats:
        """Corrects, holds and starts rows; returns the detected box of each, NaN where there is none."""
        considered = np.lexsort((-found.scores, ~strong))[: 2 * MAX_TRACKS]
        pairs = match(
            self._rows,
            found.kinds[considered],
            found.boxes[considered],
            strong[considered],
            match_iou=self._match_iou,
        )
        matched = considered[pairs.detections]
        detected = np.full((len(self._rows), 4), np.nan)
        detected[pairs.tracks] = found.boxes[matched]
        ghosts = self._rows[pairs.tracks[pairs.apart]]
        ghosts = ghosts[ghosts["hits"] > 1]
        corrected = motion.correct(
            self._rows[pairs.tracks],
            found.boxes[matched],
            noise=self._noise,
            size_decay_s=self._size_decay_s,
            now_ns=now_ns,
        )
        corrected["score"] = found.scores[matched]
        corrected["sure"] |= found.sure[matched]
        corrected["confirmed"] |= strong[matched]
        self._rows[pairs.tracks] = corrected

        owner = np.full(len(found), -1, np.int64)
        owner[matched] = pairs.tracks
        if (owner < 0).any():
            detected = self._start(found, owner, considered, strong, detected, now_ns)
        if len(ghosts):
            ghosts["id"] = self._ids(len(ghosts))
            self._rows = np.concatenate([self._rows, ghosts])
            detected = np.concatenate([detected, np.full((len(ghosts), 4), np.nan)])
        return detected

    def _start(
        self,
        found: DetectionTable,
        owner: NDArray[np.int64],
        considered: NDArray[np.int64],
        strong: NDArray[np.bool_],
        detected: Floats,
        now_ns: int,
    ) -> Floats:
        """Rows for detections without an `owner` row. A strong one that repeats another widens its box, which
        then masks; weak ones that do are left out."""
        loose = owner < 0
        kinds, boxes, scores = found.kinds, found.boxes, found.scores
        weak = considered[(loose & ~strong)[considered]][:MAX_CANDIDATES]
        known = np.concatenate([considered[strong[considered] | ~loose[considered]], weak])
        # strong ones that were too many to look at are masked in their frame all the same
        original = np.where(strong, np.arange(len(boxes)), -1)
        original[known] = known[duplicates(kinds[known], boxes[known], scores[known], owner[known] >= 0)]
        first = np.flatnonzero(loose & (original == np.arange(len(boxes))))
        owner[first] = len(self._rows) + np.arange(len(first))
        started = motion.born(kinds[first], boxes[first], scores[first], noise=self._noise, now_ns=now_ns)
        started["id"] = self._ids(len(first))
        started["sure"], started["confirmed"] = found.sure[first], strong[first]
        self._rows = np.concatenate([self._rows, started])
        detected = np.concatenate([detected, boxes[first]])
        again = np.flatnonzero(strong & loose & (original >= 0) & (original != np.arange(len(boxes))))
        rows = owner[original[again]]
        self._rows["confirmed"][rows] = True
        np.minimum.at(detected[:, :2], rows, boxes[again, :2])
        np.maximum.at(detected[:, 2:], rows, boxes[again, 2:])
        return detected

    def _ids(self, count: int) -> NDArray[np.int64]:
        ids = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        return ids

    def _tracks(self, detected: Floats, now_ns: int) -> TrackTable:
        rows = self._rows
        carried = motion.boxes_of(rows, now_ns=now_ns, growth_per_s=self._growth_per_s, trail=TRAIL)
        # fmin and fmax pass over the NaN of what is not seen
        where = np.concatenate(
            [np.fmin(carried[:, :2], detected[:, :2]), np.fmax(carried[:, 2:], detected[:, 2:])], axis=1
        )
        # copies: the rows move on, the table stays
        columns = {name: rows[name].copy() for name in ("id", "kind", "score", "first_ns", "last_ns")}
        columns |= {name: rows[name].copy() for name in ("sure", "confirmed")}
        return TrackTable(
            columns["id"],
            columns["kind"],
            where,
            detected,
            columns["score"],
            columns["first_ns"],
            columns["last_ns"],
            columns["sure"],
            columns["confirmed"],
        )


def _upright(found: DetectionTable) -> DetectionTable:
    """With upright, clipped boxes. Raises DetectorError for what is not finite."""
    boxes = found.boxes
    if not (np.isfinite(boxes).all() and np.isfinite(found.scores).all()):
        raise DetectorError("The detector answered with a box or a score that is not finite.")
    boxes = np.clip(boxes, -FURTHEST, FURTHEST)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return DetectionTable(found.kinds, np.concatenate([low, high], axis=1), found.scores, found.sure)
