"""Knows the tracks of the frames that wait, and says where to mask in the frame that is about to leave.

What was found later covers the frames before it: a new track reaches back, a gap is closed, sizes are steady.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veil.domain.clock import NANOSECONDS
from veil.domain.geometry import Box
from veil.domain.track import Track
from veil.errors import PipelineError
from veil.mask.heads import HeadHold
from veil.mask.sightings import Floats, Ints, Sightings, places
from veil.mask.targets import Target

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
    """One frame: its tracks, and those of them that are seen as arrays.

    `shapes` holds centre x, y, width, height of the detections' own boxes, shape (n, 4).
    """

    sequence: int
    time_ns: int
    epoch: int
    tracks: tuple[Track, ...]
    ids: Ints
    shapes: Floats


class LookBack:
    """A window over the frames that wait. Pure: times are given.

    Frames are pushed in order and taken in order; a frame that is skipped is forgotten. Where times go
    backwards, or after `reset`, a new epoch begins and nothing reaches over its start.

    Args:
        lookback_ns: how long a frame waits; 0 takes each frame as the tracker saw it.
        hold_ns: the tracker's hold: a track that returns later than that is a new one.
        growth_per_s: share of the size by which a box grows on each side, per second without a sighting.
    """

    def __init__(self, lookback_ns: int, hold_ns: int, growth_per_s: float) -> None:
        if lookback_ns < 0 or hold_ns < 0 or growth_per_s < 0:
            raise ValueError("look-back, hold and growth are not negative")
        self._lookback_ns = lookback_ns
        self._hold_ns = hold_ns
        self._growth_per_s = growth_per_s
        self._smooth_ns = min(lookback_ns, SMOOTH_NS)
        self._pending: deque[_Waiting] = deque()
        self._past: deque[_Waiting] = deque(maxlen=MAX_PENDING)
        self._last_seen: dict[int, tuple[int, Box]] = {}
        self._heads = HeadHold()
        self._epoch = 0

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._pending)

    def push(self, sequence: int, time_ns: int, tracks: Sequence[Track]) -> None:
        """A frame begins to wait. Raises PipelineError when sequence numbers do not rise or too many wait."""
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
        ids, shapes = _sightings(tracks) if self._lookback_ns else _sightings(())
        self._pending.append(_Waiting(sequence, time_ns, self._epoch, tuple(tracks), ids, shapes))

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

    def take(self, sequence: int) -> tuple[Target, ...]:
        """Where to mask in frame `sequence`, which leaves; frames before it are forgotten.

        Raises PipelineError for a frame that does not wait.
        """
        while self._pending and self._pending[0].sequence < sequence:
            self._leave(self._pending.popleft())
        if not self._pending or self._pending[0].sequence != sequence:
            raise PipelineError(f"frame {sequence} does not wait in the look-back")
        frame = self._pending.popleft()
        targets = self._targets(frame) + self._heads.targets(frame.tracks)
        self._leave(frame)
        return targets

    def _leave(self, frame: _Waiting) -> None:
        """Keeps of a frame what the next ones need: its sightings, and where each track was last seen."""
        if not self._lookback_ns:
            return
        if self._past and self._past[-1].epoch != frame.epoch:
            self._past.clear()
            self._last_seen.clear()
        self._past.append(frame)
        while frame.time_ns - self._past[0].time_ns > self._smooth_ns:
            self._past.popleft()
        for track in frame.tracks:
            if track.detected is not None:
                # taken out first: the dictionary stays in order of time
                self._last_seen.pop(track.track_id, None)
                self._last_seen[track.track_id] = (frame.time_ns, track.detected)
        while self._last_seen:
            oldest = next(iter(self._last_seen))
            recent = frame.time_ns - self._last_seen[oldest][0] <= self._hold_ns
            if recent and len(self._last_seen) <= MAX_REMEMBERED:
                break
            del self._last_seen[oldest]

    def _targets(self, frame: _Waiting) -> tuple[Target, ...]:
        if not self._lookback_ns:
            return tuple(target for track in frame.tracks for target in _targets_of(track, None))
        later = [one for one in self._pending if one.epoch == frame.epoch]
        past = [one for one in self._past if one.epoch == frame.epoch]
        found = places(
            self._around(frame, past, later),
            smooth_s=self._smooth_ns / NANOSECONDS,
            reach_s=self._lookback_ns / NANOSECONDS,
            growth_per_s=self._growth_per_s,
        )
        boxes = dict(zip(found.ids.tolist(), found.boxes.tolist(), strict=True))
        targets: list[Target] = []
        for track in frame.tracks:
            targets += _targets_of(track, boxes.pop(track.track_id, None))
        if boxes:
            for one in later:
                targets += [
                    Target(track.kind, Box(*boxes.pop(track.track_id)), track.score, track.track_id)
                    for track in one.tracks
                    if track.detected is not None and track.track_id in boxes
                ]
        return tuple(targets)

    def _around(self, frame: _Waiting, past: Sequence[_Waiting], later: Sequence[_Waiting]) -> Sightings:
        """The sightings of the window, and before it the last ones of the tracks that are held now."""
        held = [track.track_id for track in frame.tracks if track.detected is None]
        lost = [(track_id, *self._last_seen[track_id]) for track_id in held if track_id in self._last_seen]
        frames = [*past, frame, *later]
        times = [(one.time_ns - frame.time_ns) / NANOSECONDS for one in frames]
        return Sightings(
            np.concatenate([np.array([one[0] for one in lost], np.int64), *(one.ids for one in frames)]),
            np.concatenate(
                [
                    np.array([(one[1] - frame.time_ns) / NANOSECONDS for one in lost], np.float64),
                    np.repeat(times, [len(one.ids) for one in frames]),
                ]
            ),
            np.concatenate([_shapes([one[2] for one in lost]), *(one.shapes for one in frames)]),
        )


def _sightings(tracks: Sequence[Track]) -> tuple[Ints, Floats]:
    seen = [(track.track_id, track.detected) for track in tracks if track.detected is not None]
    return np.array([track_id for track_id, _ in seen], np.int64), _shapes([box for _, box in seen])


def _shapes(boxes: Sequence[Box]) -> Floats:
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], np.float64).reshape(-1, 4)
    # far outside any frame, but small enough to compute with
    np.clip(corners, -FURTHEST, FURTHEST, out=corners)
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _targets_of(track: Track, also: Sequence[float] | None) -> tuple[Target, ...]:
    """One target around both places, or one each where they lie apart."""
    box = track.box  # a seen track's box holds its detection
    if also is not None:
        x0, y0, x1, y1 = also
        if x1 < box.x0 or box.x1 < x0 or y1 < box.y0 or box.y1 < y0:
            there = Target(track.kind, Box(x0, y0, x1, y1), track.score, track.track_id)
            return Target(track.kind, box, track.score, track.track_id), there
        box = Box(
            x0 if x0 < box.x0 else box.x0,
            y0 if y0 < box.y0 else box.y0,
            x1 if x1 > box.x1 else box.x1,
            y1 if y1 > box.y1 else box.y1,
        )
    return (Target(track.kind, box, track.score, track.track_id),)
