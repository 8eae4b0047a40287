"""Detections to tracks, for hiding rather than for counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from veil.config import TrackerConfig
from veil.domain.clock import NANOSECONDS
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.domain.track import Track, TrackState
from veil.errors import DetectorError
from veil.track import motion
from veil.track.match import duplicates, match
from veil.track.motion import SIZE_DECAY_S, TRACK, Floats, Rows

MAX_TRACKS = 512
"""What is remembered at most. More detections than that are masked in their frame, and not held."""
FURTHEST = 1e6
"""Coordinates are clipped to it for arithmetic, in pixels."""
TRAIL = 0.5
"""A held box also covers an object that goes on at this share of its speed."""

_KINDS = tuple(ObjectClass)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_EVERYTHING = ClassThresholds(score=0.0, low=0.0)


class Tracker:
    """Follows what the detector finds in one camera. Pure: the media time is given, nothing is read.

    A first hit at or above `score` is a track at once. Scores down to `low` extend tracks. A track not seen
    is held for `hold_s` seconds of media time; its box follows its motion, stretches back to where it would
    be if it slowed down, and grows on each side by `growth_per_s` of its size a second. A seen track's box
    is the union of detection and smoothed prediction. Where a track is found again only near where it was
    expected, the expected place stays held as a track of its own: somebody may still be there.

    Args:
        config: hold, growth, matching, smoothing.
        thresholds: per class; a class that is missing masks at any score.
    """

    def __init__(self, config: TrackerConfig, thresholds: Mapping[ObjectClass, ClassThresholds]) -> None:
        limits = [thresholds.get(kind, _EVERYTHING) for kind in _KINDS]
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

    def update(self, detections: Sequence[Detection], now_ns: int) -> tuple[Track, ...]:
        """Tracks at the frame of media time `now_ns`; a time before the last one resets first.

        Raises DetectorError for boxes or scores that are not finite; tracks are as they were then.
        """
        kinds, boxes, scores = _arrays(detections)
        if self._now_ns is not None and now_ns < self._now_ns:
            self.reset()
        before_ns = now_ns if self._now_ns is None else self._now_ns
        self._now_ns = now_ns
        self._rows = self._rows[now_ns - self._rows["last_ns"] <= self._hold_ns]
        motion.predict(self._rows, (now_ns - before_ns) / NANOSECONDS)

        usable = np.flatnonzero(scores >= self._low[kinds])
        kinds, boxes, scores = kinds[usable], boxes[usable], scores[usable]
        shorter = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        strong = (scores >= self._score[kinds]) & (shorter >= self._min_size[kinds])
        seen_as = self._assign(kinds, boxes, scores, strong, now_ns)
        found: dict[int, Box] = {}
        for index, track_id in seen_as:
            box = _upright(detections[int(usable[index])].box)
            found[track_id] = box if track_id not in found else found[track_id].union(box)
        tracks = self._tracks(found, now_ns)
        # what was too much to remember is masked, and forgotten
        self._rows = self._rows[np.argsort(-self._rows["last_ns"], kind="stable")[:MAX_TRACKS]]
        return tracks

    def _assign(
        self,
        kinds: NDArray[np.int64],
        boxes: Floats,
        scores: Floats,
        strong: NDArray[np.bool_],
        now_ns: int,
    ) -> list[tuple[int, int]]:
        """Corrects, holds and starts rows; returns which detection is seen as which track id."""
        considered = np.flatnonzero(strong)
        considered = considered[np.argsort(-scores[considered], kind="stable")]
        considered = np.concatenate([considered, np.flatnonzero(~strong)])[: 2 * MAX_TRACKS]
        pairs = match(
            self._rows,
            kinds[considered],
            boxes[considered],
            strong[considered],
            match_iou=self._match_iou,
        )
        matched = considered[pairs.detections]
        ghosts = self._rows[pairs.tracks[pairs.apart]].copy()
        ghosts = ghosts[ghosts["hits"] > 1]
        ghosts["id"] = self._ids(len(ghosts))
        corrected = motion.correct(
            self._rows[pairs.tracks],
            boxes[matched],
            noise=self._noise,
            size_decay_s=self._size_decay_s,
            now_ns=now_ns,
        )
        corrected["score"] = scores[matched]
        self._rows[pairs.tracks] = corrected

        claimed = np.zeros(len(considered), np.bool_)
        claimed[pairs.detections] = True
        part = claimed | strong[considered]
        inside, rest = considered[part], np.setdiff1d(np.flatnonzero(strong), considered, assume_unique=True)
        same = duplicates(kinds[inside], boxes[inside], scores[inside], claimed[part])
        fresh = np.concatenate([inside[(same == np.arange(len(inside))) & ~claimed[part]], rest])
        ids = self._ids(len(fresh))
        started = motion.born(
            kinds[fresh],
            boxes[fresh],
            scores[fresh],
            first_id=int(ids[0]) if len(ids) else 0,
            noise=self._noise,
            now_ns=now_ns,
        )
        self._rows = np.concatenate([self._rows, started, ghosts])
        seen_as = list(zip(matched.tolist(), corrected["id"].tolist(), strict=True))
        seen_as += zip(fresh.tolist(), ids.tolist(), strict=True)
        known = dict(seen_as)
        for index, of in zip(inside.tolist(), inside[same].tolist(), strict=True):
            if index != of:
                seen_as.append((index, known[of]))
        return seen_as

    def _ids(self, count: int) -> NDArray[np.int64]:
        ids = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        return ids

    def _tracks(self, found: Mapping[int, Box], now_ns: int) -> tuple[Track, ...]:
        rows = self._rows
        carried = motion.boxes_of(rows, now_ns=now_ns, growth_per_s=self._growth_per_s, trail=TRAIL)
        tracks: list[Track] = []
        for track_id, kind, box, score, first_ns, last_ns in zip(
            rows["id"].tolist(),
            rows["kind"].tolist(),
            carried.tolist(),
            rows["score"].tolist(),
            rows["first_ns"].tolist(),
            rows["last_ns"].tolist(),
            strict=True,
        ):
            detected = found.get(track_id)
            if detected is None:
                state, where = TrackState.HELD, Box(*box)
            else:
                state, where = TrackState.SEEN, detected.union(Box(*box))
            tracks.append(Track(track_id, _KINDS[kind], state, where, detected, score, first_ns, last_ns))
        return tuple(tracks)


def _arrays(detections: Sequence[Detection]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Class codes, upright clipped boxes (n, 4) and scores. Raises DetectorError for what is not finite."""
    kinds = np.array([_CODES[found.kind] for found in detections], np.int64)
    corners = [(found.box.x0, found.box.y0, found.box.x1, found.box.y1) for found in detections]
    boxes = np.array(corners, np.float64).reshape(-1, 4)
    scores = np.array([found.score for found in detections], np.float64)
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise DetectorError("The detector answered with a box or a score that is not finite.")
    np.clip(boxes, -FURTHEST, FURTHEST, out=boxes)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return kinds, np.concatenate([low, high], axis=1), scores


def _upright(box: Box) -> Box:
    if box.x0 <= box.x1 and box.y0 <= box.y1:
        return box
    return Box(min(box.x0, box.x1), min(box.y0, box.y1), max(box.x0, box.x1), max(box.y0, box.y1))
