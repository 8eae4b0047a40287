"""Tracks and frames for the look-back's tests."""

from __future__ import annotations

from veil.config import TrackerConfig
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.domain.track import Track, TrackState
from veil.mask.lookback import LookBack
from veil.mask.targets import Target
from veil.track.tracker import Tracker

FACE, HEAD = ObjectClass.FACE, ObjectClass.HEAD
MS = 1_000_000
LOOKBACK_MS = 500
HOLD_S = 1.0
GROWTH_PER_S = 0.25
Frames = list[tuple[int, Box, bool]]
"""For each frame: time in ms, true box, whether the detector finds it."""


def contains(outer: Box, inner: Box, slack: float = 1e-6) -> bool:
    return (
        outer.x0 <= inner.x0 + slack
        and outer.y0 <= inner.y0 + slack
        and outer.x1 >= inner.x1 - slack
        and outer.y1 >= inner.y1 - slack
    )


def seen(track_id: int, box: Box, now_ms: int, kind: ObjectClass = FACE) -> Track:
    return Track(track_id, kind, TrackState.SEEN, box, box, 0.9, 0, now_ms * MS)


def held(track_id: int, box: Box, last_ms: int, kind: ObjectClass = FACE) -> Track:
    return Track(track_id, kind, TrackState.HELD, box, None, 0.9, 0, last_ms * MS)


def lookback(ms: int = LOOKBACK_MS, growth: float = GROWTH_PER_S) -> LookBack:
    return LookBack(ms * MS, int(HOLD_S * 1000) * MS, growth)


def run(frames: Frames, lookback_ms: int = LOOKBACK_MS) -> dict[int, tuple[Target, ...]]:
    """Tracker and look-back together, each frame taken when it is due: targets by frame."""
    tracker = Tracker(TrackerConfig(hold_s=HOLD_S), {FACE: ClassThresholds(0.5, 0.2)})
    window = lookback(lookback_ms)
    out: dict[int, tuple[Target, ...]] = {}
    for number, (now_ms, box, found) in enumerate(frames):
        detections = [Detection(FACE, box, 0.9)] if found else []
        window.push(number, now_ms * MS, tracker.update(detections, now_ms * MS))
        for due in window.due():
            out[due] = window.take(due)
    for number in range(len(frames)):
        if number not in out:
            out[number] = window.take(number)
    return out
