"""The tracker's promises: it serves hiding, not counting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veil.config import TrackerConfig
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.domain.track import Track, TrackState
from veil.errors import DetectorError
from veil.track.tracker import MAX_TRACKS, Tracker

FACE, PLATE = ObjectClass.FACE, ObjectClass.PLATE
MS = 1_000_000
THRESHOLDS = {
    FACE: ClassThresholds(score=0.5, low=0.2, min_size=6),
    PLATE: ClassThresholds(score=0.4, low=0.1),
}


def tracker(**config: float) -> Tracker:
    return Tracker(TrackerConfig(**{"hold_s": 1.0, "growth_per_s": 0.25, **config}), THRESHOLDS)


def face(x: float, y: float = 100, size: float = 40, score: float = 0.9) -> Detection:
    return Detection(FACE, Box(x, y, x + size, y + size), score)


def contains(outer: Box, inner: Box) -> bool:
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and outer.x1 >= inner.x1 and outer.y1 >= inner.y1


def covered(tracks: tuple[Track, ...], box: Box, kind: ObjectClass = FACE) -> bool:
    return any(track.kind is kind and contains(track.box, box) for track in tracks)


def test_first_hit_masks_at_once() -> None:
    (track,) = tracker().update([face(100, score=0.5)], 0)
    assert track.state is TrackState.SEEN
    assert track.detected == Box(100, 100, 140, 140)
    assert contains(track.box, track.detected)


def masked(tracks: Sequence[Track]) -> list[Track]:
    return [track for track in tracks if track.is_confirmed]


def test_low_scores_extend_but_do_not_start() -> None:
    mine = tracker()
    assert masked(mine.update([face(100, score=0.3)], 0)) == []
    (first,) = mine.update([face(100, score=0.6)], 33 * MS)
    assert first.is_confirmed
    (second,) = mine.update([face(102, score=0.2)], 66 * MS)
    assert second.track_id == first.track_id
    assert second.state is TrackState.SEEN
    assert second.score == 0.2
    (third,) = mine.update([face(102, score=0.19)], 99 * MS)
    assert third.state is TrackState.HELD


def test_small_detections_extend_but_do_not_start() -> None:
    mine = tracker()
    assert masked(mine.update([face(100, size=5)], 0)) == []
    mine.update([face(100, size=7)], 33 * MS)
    (track,) = mine.update([face(101, size=5)], 66 * MS)
    assert track.state is TrackState.SEEN
    assert track.is_confirmed


def test_a_candidate_is_the_track_that_a_first_hit_confirms() -> None:
    mine = tracker()
    (candidate,) = mine.update([face(100, score=0.3)], 0)
    (still,) = mine.update([face(101, score=0.25)], 33 * MS)
    (track,) = mine.update([face(102, score=0.5)], 66 * MS)
    assert (candidate.track_id, candidate.is_confirmed) == (still.track_id, still.is_confirmed)
    assert not candidate.is_confirmed
    assert (track.track_id, track.is_confirmed, track.first_seen_ns) == (candidate.track_id, True, 0)


def test_a_candidate_that_is_not_seen_again_is_soon_forgotten() -> None:
    mine = tracker(hold_s=1.0)
    mine.update([face(100, score=0.3)], 0)
    assert len(mine.update([], 200 * MS)) == 1
    assert mine.update([], 201 * MS) == ()


def test_a_first_hit_beside_a_candidate_masks_at_once() -> None:
    """It repeats the weak box that the candidate took, and must not be lost in it."""
    mine = tracker()
    mine.update([face(100, score=0.3)], 0)
    tracks = mine.update([face(100, score=0.45), face(103, score=0.6)], 33 * MS)
    assert covered(tuple(masked(tracks)), Box(103, 100, 143, 140))


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0.2, 1.0), st.integers(4, 60)), max_size=12))
def test_whatever_is_beside_it_a_strong_detection_is_masked_in_its_frame(
    found: list[tuple[int, float, int]],
) -> None:
    mine = tracker()
    for frame in range(4):
        seen = [face(10.0 * x + frame, size=size, score=score) for x, score, size in found[frame:]]
        tracks = tuple(masked(mine.update(seen, frame * 33 * MS)))
        for one in seen:
            if one.score >= 0.5 and one.box.width >= 6:
                assert covered(tracks, one.box), (frame, one)


def test_candidates_never_push_out_what_is_confirmed() -> None:
    mine = tracker()
    strong = [face(50.0 * n, y=0) for n in range(MAX_TRACKS)]
    mine.update(strong, 0)
    weak = [face(50.0 * n, y=500, score=0.3) for n in range(MAX_TRACKS)]
    for frame in range(1, 6):
        mine.update(weak, frame * 33 * MS)
    assert len(masked(mine.update([], 200 * MS))) == MAX_TRACKS


def test_hold_is_in_seconds_not_frames() -> None:
    for step_ms in (10, 33, 200, 333):
        mine = tracker(hold_s=1.0)
        mine.update([face(100)], 0)
        held_until = 0
        for now in range(step_ms, 2000, step_ms):
            if mine.update([], now * MS):
                held_until = now
        assert held_until <= 1000 < held_until + step_ms


def test_held_box_grows_around_the_last_place() -> None:
    mine = tracker(hold_s=2.0, growth_per_s=0.5)
    mine.update([face(100)], 0)
    last = Box(100, 100, 140, 140)
    for now in range(100, 2001, 100):
        (track,) = mine.update([], now * MS)
        assert track.state is TrackState.HELD
        assert track.detected is None
        assert contains(track.box, last)
        last = track.box
    assert 40 * (1 + 2 * 0.5 * 2) <= last.width <= 40 * (1 + 2 * 0.5 * 2 + 0.1)


def test_held_box_follows_the_motion_and_covers_a_slower_one() -> None:
    mine = tracker()
    for frame in range(30):
        mine.update([face(100 + 4 * frame)], frame * 33 * MS)
    for frame in range(30, 42):
        tracks = mine.update([], frame * 33 * MS)
        steady = 100 + 4 * frame
        slower = 100 + 4 * 29 + 2 * (frame - 29)
        assert covered(tracks, Box(steady, 100, steady + 40, 140)), frame
        assert covered(tracks, Box(slower, 100, slower + 40, 140)), frame


def test_what_two_close_sightings_say_of_its_speed_is_not_followed_far() -> None:
    mine = tracker(growth_per_s=0)
    mine.update([face(100)], 0)
    mine.update([face(103)], 33 * MS)  # 2.3 sizes a second, or a box that jitters
    (track,) = mine.update([], 533 * MS)
    assert contains(track.box, Box(105, 100, 145, 140))
    assert track.box.x1 < 155, "not half a second at that speed"


def test_a_track_is_sure_from_its_first_sure_detection_on() -> None:
    mine = tracker()
    doubtful = replace(face(100), is_sure=False)
    states = [
        mine.update(found, frame * 33 * MS)[0].is_sure
        for frame, found in enumerate([[doubtful], [doubtful], [face(100)], [doubtful], []])
    ]
    assert states == [False, False, True, True, True]


@pytest.mark.parametrize("fps", [5, 10, 15, 30, 60])
def test_one_track_for_a_fast_small_object_at_any_frame_rate(fps: int) -> None:
    mine = tracker()
    ids = set()
    for frame in range(12):
        x = 50 + 7 * 24 * frame / fps  # seven of its own sizes a second, as a walking face may
        for track in mine.update([face(x, size=24)], int(frame * 1e9 / fps)):
            if track.state is TrackState.SEEN:
                ids.add(track.track_id)
    assert len(ids) == 1


def test_frames_at_uneven_times_keep_one_track() -> None:
    mine = tracker()
    now_ms, ids = 0, set()
    for step in (33, 5, 200, 33, 400, 12, 90, 33, 300, 33):
        now_ms += step
        tracks = mine.update([face(100 + 0.12 * now_ms)], now_ms * MS)
        ids |= {track.track_id for track in tracks}
    assert len(ids) == 1


def test_each_detection_belongs_to_one_track() -> None:
    mine = tracker()
    mine.update([face(100), face(170)], 0)
    tracks = mine.update([face(104), face(166)], 33 * MS)
    assert [track.state for track in tracks] == [TrackState.SEEN] * 2
    assert len({track.track_id for track in tracks}) == 2


def test_classes_do_not_mix() -> None:
    mine = tracker()
    mine.update([face(100)], 0)
    tracks = mine.update([Detection(PLATE, Box(100, 100, 140, 140), 0.9)], 33 * MS)
    assert {(track.kind, track.state) for track in tracks} == {
        (FACE, TrackState.HELD),
        (PLATE, TrackState.SEEN),
    }


def test_repeated_detections_are_one_track_around_all() -> None:
    mine = tracker()
    (track,) = mine.update([face(100), face(104, score=0.8), face(106, 105, 25, score=0.7)], 0)
    assert contains(track.box, Box(100, 100, 144, 140))
    again = mine.update([face(100), face(104, score=0.8)], 33 * MS)
    assert [one.track_id for one in again] == [track.track_id]
    assert contains(again[0].box, Box(100, 100, 144, 140))


def test_what_left_its_place_for_a_doubtful_match_stays_covered() -> None:
    mine = tracker()
    for frame in range(10):
        (known,) = mine.update([face(100)], frame * 33 * MS)
    for frame in range(10, 28):
        mine.update([], frame * 33 * MS)
    now = mine.update([face(150)], 28 * 33 * MS)
    (seen,) = [track for track in now if track.state is TrackState.SEEN]
    assert seen.track_id == known.track_id, "matched by distance"
    assert covered(now, Box(150, 100, 190, 140))
    assert covered(now, Box(100, 100, 140, 140)), "somebody may still be where the track was expected"
    later = mine.update([face(150)], 30 * 33 * MS)
    assert covered(later, Box(100, 100, 140, 140))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    mine = tracker()
    mine.update([face(100)], 0)
    with pytest.raises(DetectorError):
        mine.update([Detection(FACE, Box(0, value, 10, 10), 0.9)], MS)
    with pytest.raises(DetectorError):
        mine.update([Detection(FACE, Box(0, 0, 10, 10), value)], MS)
    assert len(mine.update([], 2 * MS)) == 1


def test_time_going_backwards_resets() -> None:
    mine = tracker()
    (first,) = mine.update([face(100)], 1000 * MS)
    assert mine.update([], 500 * MS) == ()
    (second,) = mine.update([face(100)], 600 * MS)
    assert second.track_id > first.track_id


def test_reset_forgets_tracks_but_never_reuses_an_id() -> None:
    mine = tracker()
    (first,) = mine.update([face(100)], 0)
    mine.reset()
    assert mine.update([], 0) == ()
    (second,) = mine.update([face(100)], 0)
    assert second.track_id > first.track_id


def test_a_long_pause_ends_all_tracks() -> None:
    mine = tracker()
    (first,) = mine.update([face(100)], 0)
    (second,) = mine.update([face(100)], 10_000 * MS)
    assert second.track_id != first.track_id


def test_a_class_without_thresholds_masks_at_any_score() -> None:
    mine = Tracker(TrackerConfig(), {})
    assert len(mine.update([face(100, score=0.01)], 0)) == 1


def test_floods_are_masked_but_not_remembered() -> None:
    mine = tracker()
    flood = [face(60 * (at % 100), 60 * (at // 100)) for at in range(3000)]
    tracks = mine.update(flood, 0)
    assert all(covered_by_any(tracks, found.box) for found in flood)
    assert len(mine.update([], MS)) == MAX_TRACKS


def covered_by_any(tracks: tuple[Track, ...], box: Box) -> bool:
    return box in {track.detected for track in tracks}


numbers = st.one_of(
    st.floats(-200, 2200),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324]),
)
found = st.builds(
    Detection,
    st.sampled_from(list(ObjectClass)),
    st.builds(Box, numbers, numbers, numbers, numbers),
    st.floats(0, 1),
)
steps = st.lists(
    st.tuples(st.integers(-(10**9), 3 * 10**9), st.lists(found, max_size=6)), min_size=1, max_size=12
)


@given(steps, st.floats(0, 0.95))
@settings(max_examples=150, deadline=None)
def test_box_never_shrinks_below_detection(
    frames: list[tuple[int, list[Detection]]], smoothing: float
) -> None:
    mine = tracker(smoothing=smoothing)
    now = 0
    for step, detections in frames:
        now += step
        tracks = mine.update(detections, now)
        assert len({track.track_id for track in tracks}) == len(tracks)
        for track in tracks:
            assert track.box.is_finite
            assert (track.detected is not None) == (track.state is TrackState.SEEN)
            if track.detected is not None:
                assert contains(track.box, track.detected)
        for detection in detections:
            limits = THRESHOLDS.get(detection.kind, ClassThresholds(0, 0))
            box = detection.box
            upright = Box(min(box.x0, box.x1), min(box.y0, box.y1), max(box.x0, box.x1), max(box.y0, box.y1))
            clipped = Box(*(max(-1e6, min(1e6, v)) for v in (upright.x0, upright.y0, upright.x1, upright.y1)))
            if detection.score >= limits.score and min(clipped.width, clipped.height) >= limits.min_size:
                assert covered(tracks, clipped, detection.kind)


@given(
    st.floats(-8, 8),
    st.floats(-8, 8),
    st.lists(st.integers(5, 150), min_size=8, max_size=30),
    st.randoms(use_true_random=False),
)
@settings(max_examples=100, deadline=None)
def test_a_seen_object_is_covered_whatever_it_was_matched_to(
    speed_x: float, speed_y: float, steps_ms: list[int], random: object
) -> None:
    """Two objects that move in straight lines, each missed now and then: what is seen is covered."""
    mine = tracker()
    now_ms = 0
    for step in steps_ms:
        now_ms += step
        t = now_ms / 1000
        both = [face(300 + 40 * speed_x * t, 300 + 40 * speed_y * t), face(400 - 30 * t, 300, 35)]
        seen = [one for one in both if random.random() > 0.3]  # type: ignore[attr-defined]
        tracks = mine.update(seen, now_ms * MS)
        assert all(covered(tracks, one.box) for one in seen)
