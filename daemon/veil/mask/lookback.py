"""Knows the tracks of the frames that wait, and says where to mask in the frame that is about to leave.

What was found later covers the frames before it: a new track reaches back, a gap is closed, sizes are steady.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.domain.clock import NANOSECONDS
from veil.domain.track import Track, TrackTable
from veil.errors import PipelineError
from veil.mask.heads import HeadHold
from veil.mask.sightings import Floats, Ints, Places, Sightings, places
from veil.mask.targets import TargetTable

MAX_PENDING = 4096
"""Frames that may wait at once; the pool of slots is far smaller."""
MAX_REMEMBERED = 4096
"""Tracks whose last sighting is kept."""
SMOOTH_NS = NANOSECONDS // 4
"""How far to both sides sizes and places are smoothed, at most the look-back itself."""
FURTHEST = 1e6
"""Coordinates are clipped to it for arithmetic, in pixels."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One frame: its tracks, and of those that are seen their rows, ids and places.

    `shapes` holds centre x, y, width, height of the detections' own boxes, shape (n, 4). `looked`: whether a
    detector did, so that what is not seen is known not to be.
    """

    sequence: int
    time_ns: int
    epoch: int
    tracks: TrackTable
    rows: Ints
    ids: Ints
    shapes: Floats
    looked: bool


@dataclass(frozen=True, slots=True)
class _LastSeen:
    """Where tracks were seen last, in order of time: one row each."""

    ids: Ints
    times_ns: Ints
    shapes: Floats

    @classmethod
    def nothing(cls) -> _LastSeen:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)))

    def and_of(self, frame: _Waiting, hold_ns: int) -> _LastSeen:
        """With what is seen in `frame`, without what was seen longer than `hold_ns` before it."""
        stay = np.flatnonzero(~_among(self.ids, frame.ids) & (frame.time_ns - self.times_ns <= hold_ns))
        return _LastSeen(
            np.concatenate([self.ids[stay], frame.ids])[-MAX_REMEMBERED:],
            np.concatenate([self.times_ns[stay], np.full(len(frame.ids), frame.time_ns)])[-MAX_REMEMBERED:],
            np.concatenate([self.shapes[stay], frame.shapes])[-MAX_REMEMBERED:],
        )


class LookBack:
    """A window over the frames that wait. Pure: times are given.

    Frames are pushed in order and taken in order; a frame that is skipped is forgotten. Where times go
    backwards, or after `reset`, a new epoch begins and nothing reaches over its start.

    Args:
        lookback_ns: how long a frame waits; 0 takes each frame as the tracker saw it.
        hold_ns: the tracker's hold: a track that returns later than that is a new one.
        growth_per_s: share of the size by which a box grows on each side, per second without a sighting.
        tail_ns: how long a track stays masked after its last sighting, as far as the waiting frames show that
            it does not return; where they reach less far than the hold, what is missing is added. None: as
            long as the tracker holds it.
        unsure_ns: the same for tracks that never were sure, and how long before their first sighting these
            are covered. None: as all others.
    """

    def __init__(
        self,
        lookback_ns: int,
        hold_ns: int,
        growth_per_s: float,
        *,
        tail_ns: int | None = None,
        unsure_ns: int | None = None,
    ) -> None:
        self._tail_ns = hold_ns if tail_ns is None else tail_ns
        self._unsure_tail_ns = self._tail_ns if unsure_ns is None else min(unsure_ns, self._tail_ns)
        self._unsure_reach_ns = lookback_ns if unsure_ns is None else unsure_ns
        if min(lookback_ns, hold_ns, growth_per_s, self._unsure_tail_ns, self._unsure_reach_ns) < 0:
            raise ValueError("look-back, hold, growth and tails are not negative")
        self._lookback_ns = lookback_ns
        self._hold_ns = hold_ns
        self._growth_per_s = growth_per_s
        self._smooth_ns = min(lookback_ns, SMOOTH_NS)
        self._pending: deque[_Waiting] = deque()
        self._past: deque[_Waiting] = deque(maxlen=MAX_PENDING)
        self._last_seen = _LastSeen.nothing()
        self._heads = HeadHold()
        self._epoch = 0

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._pending)

    def push(
        self, sequence: int, time_ns: int, tracks: Sequence[Track], *, without_detector: bool = False
    ) -> None:
        """A frame begins to wait. Raises PipelineError when sequence numbers do not rise or too many wait.

        A frame `without_detector` says nothing of which tracks are still there.
        """
        if self._pending:
            newest = self._pending[-1]
            if sequence <= newest.sequence:
                raise PipelineError(f"frame {sequence} came after frame {newest.sequence}")
            if time_ns < newest.time_ns and newest.epoch == self._epoch:
                self.reset()
        elif self._past and time_ns < self._past[-1].time_ns and self._past[-1].epoch == self._epoch:
            self.reset()
        if len(self._pending) >= MAX_PENDING:
            raise PipelineError(f"{MAX_PENDING} frames wait in the look-back and none is taken")
        table = TrackTable.of(tracks)
        rows = np.flatnonzero(table.seen)
        shapes = _shapes(table.detected[rows])
        self._pending.append(
            _Waiting(
                sequence, time_ns, self._epoch, table, rows, table.ids[rows], shapes, not without_detector
            )
        )

    def due(self) -> tuple[int, ...]:
        """Sequence numbers of the frames that have waited long enough, oldest first."""
        if not self._pending:
            return ()
        newest = self._pending[-1]
        return tuple(
            frame.sequence
            for frame in self._pending
            if frame.epoch != newest.epoch or frame.time_ns + self._lookback_ns <= newest.time_ns
        )

    def reset(self) -> None:
        """What is pushed from now on has nothing to do with what was pushed before (another picture)."""
        self._epoch += 1

    def take(self, sequence: int) -> TargetTable:
        """Where to mask in frame `sequence`, which leaves; frames before it are forgotten.

        Raises PipelineError for a frame that does not wait.
        """
        while self._pending and self._pending[0].sequence < sequence:
            self._leave(self._pending.popleft())
        if not self._pending or self._pending[0].sequence != sequence:
            raise PipelineError(f"frame {sequence} does not wait in the look-back")
        frame = self._pending.popleft()
        later = [one for one in self._pending if one.epoch == frame.epoch] if self._lookback_ns else []
        believed = _believed([frame, *later])
        tracks = frame.tracks.rows(_among(frame.tracks.ids, believed))
        targets = TargetTable.joined(
            [*self._targets(frame, tracks, later, believed), self._heads.targets(tracks)]
        )
        self._leave(frame)
        return targets

    def _leave(self, frame: _Waiting) -> None:
        """Keeps of a frame what the next ones need: its sightings, and where each track was last seen."""
        if not self._lookback_ns:
            return
        if self._past and self._past[-1].epoch != frame.epoch:
            self._past.clear()
            self._last_seen = _LastSeen.nothing()
        self._past.append(frame)
        while frame.time_ns - self._past[0].time_ns > self._smooth_ns:
            self._past.popleft()
        self._last_seen = self._last_seen.and_of(frame, self._hold_ns)

    def _targets(
        self, frame: _Waiting, tracks: TrackTable, later: Sequence[_Waiting], believed: Ints
    ) -> tuple[TargetTable, ...]:
        """Those of `tracks`, the frame's own, and those of tracks first seen in a later frame that are
        `believed`."""
        if not self._lookback_ns:
            return (TargetTable(tracks.kinds, tracks.boxes, tracks.scores, tracks.ids),)
        past = [one for one in self._past if one.epoch == frame.epoch]
        found = places(
            self._around(frame, past, later),
            smooth_s=self._smooth_ns / NANOSECONDS,
            reach_s=self._lookback_ns / NANOSECONDS,
            growth_per_s=self._growth_per_s,
        )
        masked = ~self._ended(frame, tracks, later, found)
        ahead = ~_among(found.ids, frame.tracks.ids) & _among(found.ids, believed)
        return _targets_of(tracks, found, masked), self._targets_ahead(frame, found, ahead, later)

    def _ended(
        self, frame: _Waiting, tracks: TrackTable, later: Sequence[_Waiting], found: Places
    ) -> NDArray[np.bool_]:
        """Which `tracks` of `frame` are not masked any more: long not seen, and not seen again either."""
        known_ns = 0
        for one in later:
            if not one.looked:
                break
            known_ns = one.time_ns - frame.time_ns
        tail_ns = np.where(tracks.sure, self._tail_ns, self._unsure_tail_ns)
        over = frame.time_ns - tracks.last_seen_ns > np.maximum(tail_ns, self._hold_ns - known_ns)
        return over & ~tracks.seen & ~_among(tracks.ids, found.ids)

    def _targets_ahead(
        self, frame: _Waiting, found: Places, ahead: NDArray[np.bool_], later: Sequence[_Waiting]
    ) -> TargetTable:
        """Of those tracks in `found` that come `ahead`, in the order in which they come."""
        new = np.flatnonzero(ahead)
        if not len(new):
            return TargetTable.of(())
        coming, first, row = np.unique(
            np.concatenate([one.ids for one in later]), return_index=True, return_inverse=True
        )
        sure = np.concatenate([one.tracks.sure[one.rows] for one in later])
        after_ns = np.repeat([one.time_ns - frame.time_ns for one in later], [len(one.ids) for one in later])
        near = (np.bincount(row, sure) > 0) | (after_ns[first] <= self._unsure_reach_ns)
        at = np.searchsorted(coming, found.ids[new])
        new, first = new[near[at]], first[at][near[at]]
        order = np.argsort(first)
        first, new = first[order], new[order]
        kinds = np.concatenate([one.tracks.kinds[one.rows] for one in later])[first]
        scores = np.concatenate([one.tracks.scores[one.rows] for one in later])[first]
        return TargetTable(kinds, found.boxes[new], scores, found.ids[new])

    def _around(self, frame: _Waiting, past: Sequence[_Waiting], later: Sequence[_Waiting]) -> Sightings:
        """The sightings of the window, and before it the last ones of the tracks that are held now."""
        known = self._last_seen
        lost = np.flatnonzero(_among(known.ids, frame.tracks.ids[~frame.tracks.seen]))
        frames = [*past, frame, *later]
        times = [(one.time_ns - frame.time_ns) / NANOSECONDS for one in frames]
        return Sightings(
            np.concatenate([known.ids[lost], *(one.ids for one in frames)]),
            np.concatenate(
                [
                    (known.times_ns[lost] - frame.time_ns) / NANOSECONDS,
                    np.repeat(times, [len(one.ids) for one in frames]),
                ]
            ),
            np.concatenate([known.shapes[lost], *(one.shapes for one in frames)]),
        )


def _believed(frames: Sequence[_Waiting]) -> Ints:
    """Ids of the tracks that are confirmed in any of `frames`: a candidate's past counts once it is one."""
    return np.concatenate([one.tracks.ids[one.tracks.confirmed] for one in frames])


def _among(ids: Ints, some: Ints) -> NDArray[np.bool_]:
    """Which of `ids` are in `some`."""
    if not len(ids) or not len(some):
        return np.zeros(len(ids), np.bool_)
    return np.isin(ids, some)


def _shapes(boxes: Floats) -> Floats:
    """Centres and sizes of `boxes`, corners of shape (n, 4)."""
    # far outside any frame, but small enough to compute with
    corners = np.clip(boxes, -FURTHEST, FURTHEST)
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _targets_of(tracks: TrackTable, found: Places, masked: NDArray[np.bool_]) -> TargetTable:
    """For each `masked` track one target around its box and its place in `found`, or one each where these
    lie apart. Of a track that is seen it is the detection's box: the place is steadier than the tracker's.
    """
    also = np.full((len(tracks), 4), np.nan)
    order = np.argsort(found.ids)
    at = np.searchsorted(found.ids, tracks.ids, sorter=order)
    at = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(tracks), np.intp)
    has = found.ids[at] == tracks.ids if len(order) else np.zeros(len(tracks), np.bool_)
    also[has] = found.boxes[at[has]]
    box = np.where((has & tracks.seen)[:, None], tracks.detected, tracks.boxes)
    # a NaN is neither larger nor smaller
    apart = ((also[:, 2:] < box[:, :2]) | (box[:, 2:] < also[:, :2])).any(axis=1)
    united = np.concatenate([np.fmin(box[:, :2], also[:, :2]), np.fmax(box[:, 2:], also[:, 2:])], axis=1)
    if not apart.any() and masked.all():
        return TargetTable(tracks.kinds, united, tracks.scores, tracks.ids)
    rows = np.repeat(np.arange(len(tracks)), np.where(masked, 1 + apart, 0))
    boxes = np.where(apart[:, None], box, united)[rows]
    boxes[1:][rows[1:] == rows[:-1]] = also[apart & masked]
    return TargetTable(tracks.kinds[rows], boxes, tracks.scores[rows], tracks.ids[rows])
