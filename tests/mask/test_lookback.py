"""What the look-back covers: before a first sighting, in gaps, and steadily."""

from __future__ import annotations

import random
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
from veil.errors import PipelineError
from veil.mask.lookback import MAX_PENDING, LookBack
from veil.mask.sightings import LIKELY_SPEED
from veil.mask.targets import Target
from veil.track.motion import BASELINE_S
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


def test_object_first_seen_in_frame_n_is_covered_before() -> None:
    window = lookback()
    for number in range(10):
        window.push(number, number * 50 * MS, ())
    window.push(10, 500 * MS, (seen(1, Box(100, 100, 140, 140), 500),))
    for number in range(10):
        (target,) = window.take(number)
        assert (target.kind, target.track_id) == (FACE, 1)
        assert contains(target.box, Box(100, 100, 140, 140))


def test_object_first_seen_later_than_the_look_back_is_not_invented() -> None:
    window = lookback()
    window.push(0, 0, ())
    window.push(1, 501 * MS, (seen(1, Box(100, 100, 140, 140), 501),))
    assert window.take(0) == ()


def test_gap_between_two_sightings_is_covered_along_the_way() -> None:
    window = lookback()
    window.push(0, 0, (seen(1, Box(0, 0, 40, 40), 0),))
    for number in range(1, 10):
        window.push(number, number * 50 * MS, (held(1, Box(0, 0, 40, 40), 0),))
    window.push(10, 500 * MS, (seen(1, Box(400, 0, 440, 40), 500),))
    for number in range(10):
        boxes = [target.box for target in window.take(number)]
        assert any(contains(box, Box(40 * number, 0, 40 * number + 40, 40)) for box in boxes), number
        assert any(contains(box, Box(0, 0, 40, 40)) for box in boxes), "the prediction stays covered too"


def test_places_apart_are_two_masks_not_one_across() -> None:
    window = lookback()
    window.push(0, 0, (seen(1, Box(0, 0, 40, 40), 0),))
    window.push(1, 250 * MS, (held(1, Box(0, 0, 40, 40), 0),))
    window.push(2, 500 * MS, (seen(1, Box(800, 0, 840, 40), 500),))
    window.take(0)
    prediction, interpolation = window.take(1)
    assert prediction.box == Box(0, 0, 40, 40)
    assert contains(interpolation.box, Box(400, 0, 440, 40))
    assert interpolation.box.width < 100


def test_last_sighting_is_known_after_its_frame_has_left() -> None:
    """A gap longer than smoothing and look-back together, still within hold."""
    window = lookback()
    last = Box(0, 0, 40, 40)
    window.push(0, 0, (seen(1, last, 0),))
    for number in range(1, 19):
        window.push(number, number * 50 * MS, (held(1, last, 0),))
        for due in window.due():
            window.take(due)
    window.push(19, 950 * MS, (seen(1, Box(950, 0, 990, 40), 950),))
    for number in range(9, 19):
        boxes = [target.box for target in window.take(number)]
        assert any(contains(box, Box(50 * number, 0, 50 * number + 40, 40)) for box in boxes), number


def test_sizes_do_not_flicker() -> None:
    window = lookback()
    for number in range(16):
        half = 20 + (number % 2) * 5
        window.push(
            number, number * 33 * MS, (seen(1, Box(100 - half, 100 - half, 100 + half, 100 + half), 0),)
        )
    widths = [window.take(number)[0].box.width for number in range(16)]
    assert min(widths) >= 49.5
    assert max(widths) - min(widths) < 1


def test_one_box_that_is_far_too_large_does_not_enlarge_its_neighbours_as_much() -> None:
    window = lookback(growth=0)
    for number in range(15):
        half = 60 if number == 7 else 20
        box = Box(100 - half, 100 - half, 100 + half, 100 + half)
        window.push(number, number * 33 * MS, (seen(1, box, number * 33),))
    widths = [window.take(number)[0].box.width for number in range(15)]
    assert widths[7] >= 120
    assert max(widths[:7] + widths[8:]) < 80


def test_smoothed_box_is_never_smaller_than_the_detection() -> None:
    window = lookback()
    boxes = [Box(100 + 17 * (n % 3), 100, 130 + 25 * (n % 4), 160) for n in range(12)]
    for number, box in enumerate(boxes):
        window.push(number, number * 33 * MS, (seen(1, box, 0),))
    for number, box in enumerate(boxes):
        assert contains(window.take(number)[0].box, box, 0)


def test_without_look_back_each_frame_is_as_the_tracker_saw_it() -> None:
    window = lookback(0)
    track = seen(1, Box(0, 0, 40, 40), 0)
    window.push(0, 0, (track,))
    assert window.due() == (0,)
    assert window.take(0) == (Target(FACE, track.box, 0.9, 1),)


def test_frames_are_due_after_the_look_back() -> None:
    window = lookback()
    for number in range(12):
        window.push(number, number * 100 * MS, ())
    assert window.due() == (0, 1, 2, 3, 4, 5, 6)


def test_skipped_frames_are_forgotten_and_unknown_ones_refused() -> None:
    window = lookback()
    for number in (3, 4, 7):
        window.push(number, number * MS, ())
    with pytest.raises(PipelineError):
        window.push(7, 8 * MS, ())
    window.take(4)
    assert len(window) == 1
    for number in (3, 4, 5, 9):
        with pytest.raises(PipelineError):
            window.take(number)


def test_memory_is_bounded() -> None:
    window = lookback()
    for number in range(MAX_PENDING):
        window.push(number, 0, ())
    with pytest.raises(PipelineError):
        window.push(MAX_PENDING, 0, ())


def test_nothing_reaches_over_a_reset_or_a_step_back_in_time() -> None:
    for step_back in (True, False):
        window = lookback()
        window.push(0, 1000 * MS, (seen(1, Box(0, 0, 40, 40), 1000),))
        if not step_back:
            window.reset()
        window.push(1, 900 * MS if step_back else 1033 * MS, (seen(2, Box(500, 0, 540, 40), 0),))
        assert window.due() == (0,), "the old picture does not wait for the new one"
        assert [target.track_id for target in window.take(0)] == [1]
        assert [target.track_id for target in window.take(1)] == [2]


def test_a_head_whose_face_turned_away_keeps_the_face_part_covered() -> None:
    window = lookback(0)
    head, face = Box(100, 100, 200, 220), Box(120, 140, 180, 210)
    window.push(0, 0, (seen(1, head, 0, HEAD), seen(2, face, 0)))
    assert {target.kind for target in window.take(0)} == {FACE, HEAD}
    moved = head.shifted(50, 10)
    window.push(1, 5000 * MS, (seen(1, moved, 5000, HEAD),))
    (held_face,) = [target for target in window.take(1) if target.kind is FACE]
    assert contains(held_face.box, face.shifted(50, 10))
    window.push(2, 5033 * MS, (seen(3, moved, 5033, HEAD),))
    assert [target.kind for target in window.take(2)] == [HEAD], "another head had no face"


def test_a_head_without_a_face_masks_nothing_of_its_own() -> None:
    window = lookback(0)
    window.push(0, 0, (seen(1, Box(0, 0, 50, 50), 0, HEAD), seen(2, Box(300, 0, 330, 30), 0)))
    assert [target.kind for target in window.take(0)] == [HEAD, FACE]


PLACE = Box(100, 100, 140, 140)


def unsure(track: Track) -> Track:
    return replace(track, is_sure=False)


def tails(frames: Sequence[Track | None], blind_from: int = 99) -> list[int]:
    """In which frames, 100 ms apart, something is masked; hold 1 s, look-back 0.5, tails 0.2 and 0.1 s."""
    window = LookBack(LOOKBACK_MS * MS, int(HOLD_S * 1000) * MS, 0.0, tail_ns=200 * MS, unsure_ns=100 * MS)
    masked: list[int] = []
    for number, track in enumerate(frames):
        now = () if track is None else (track,)
        window.push(number, number * 100 * MS, now, without_detector=number >= blind_from)
        masked += [due for due in window.due() if window.take(due)]
    return masked


def test_what_is_not_seen_again_is_masked_for_its_tail_beyond_what_is_known() -> None:
    """Seen at 0; 0.5 s are known: the hold of 1 s asks for half a second more, which is over the tail."""
    lost = [held(1, PLACE, 0)] * 10
    assert tails([seen(1, PLACE, 0), *lost, *[None] * 6]) == [0, 1, 2, 3, 4, 5]


def test_the_tail_is_shorter_for_what_never_was_sure() -> None:
    window = LookBack(500 * MS, 500 * MS, 0.0, tail_ns=200 * MS, unsure_ns=100 * MS)
    first = seen(1, PLACE, 0), unsure(seen(2, PLACE.shifted(300, 0), 0))
    later = held(1, PLACE, 0), unsure(held(2, PLACE.shifted(300, 0), 0))
    window.push(0, 0, first)
    for number in range(1, 12):
        window.push(number, number * 50 * MS, later if number <= 10 else ())
    ids = [[target.track_id for target in window.take(number)] for number in range(6)]
    assert ids == [[1, 2], [1, 2], [1, 2], [1], [1], []]


def test_frames_that_no_detector_saw_do_not_end_a_tail() -> None:
    lost = [held(1, PLACE, 0)] * 10
    assert tails([seen(1, PLACE, 0), *lost, *[None] * 6], blind_from=3) == list(range(11))


def test_a_gap_is_covered_however_unsure_both_ends_are() -> None:
    gone = [unsure(held(1, PLACE, 0))] * 4
    frames = [unsure(seen(1, PLACE, 0)), *gone, unsure(seen(1, PLACE, 500)), *[None] * 6]
    assert tails(frames) == [0, 1, 2, 3, 4, 5]


def test_what_never_was_sure_reaches_less_far_back() -> None:
    coming = [None] * 6
    assert tails([*coming, seen(1, PLACE, 600), *[None] * 6]) == [1, 2, 3, 4, 5, 6]
    assert tails([*coming, unsure(seen(1, PLACE, 600)), *[None] * 6]) == [5, 6]


def test_one_sure_sighting_is_enough_for_the_whole_reach() -> None:
    frames = [None] * 5 + [unsure(seen(1, PLACE, 500)), seen(1, PLACE, 600)] + [None] * 6
    assert tails(frames) == [1, 2, 3, 4, 5, 6], "when frame 0 leaves, the sure one is not known"


def candidate(track: Track) -> Track:
    return replace(track, is_confirmed=False)


def test_a_candidate_masks_only_once_it_is_known_to_be_confirmed() -> None:
    """Candidate in frames 0 and 2, confirmed in 6: frames 0 (too long ago) and what no later frame confirms
    stay open, the rest of its past is covered."""
    window = lookback()
    nowhere = candidate(seen(2, PLACE.shifted(400, 0), 0))
    window.push(0, 0, (candidate(seen(1, PLACE, 0)), nowhere))
    window.push(1, 100 * MS, (candidate(held(1, PLACE, 0)), nowhere))
    window.push(2, 200 * MS, (candidate(seen(1, PLACE, 200)),))
    for number in range(3, 6):
        window.push(number, number * 100 * MS, (candidate(held(1, PLACE, 200)),))
    assert window.take(0) == ()
    window.push(6, 600 * MS, (seen(1, PLACE, 600),))
    for number in range(1, 7):
        assert [target.track_id for target in window.take(number)] == [1], number


def test_a_candidate_of_later_frames_does_not_reach_back() -> None:
    window = lookback()
    window.push(0, 0, ())
    window.push(1, 100 * MS, (candidate(seen(1, PLACE, 100)),))
    assert window.take(0) == ()
    assert window.take(1) == ()


def test_without_look_back_a_candidate_masks_nothing() -> None:
    window = lookback(0)
    window.push(0, 0, (candidate(seen(1, PLACE, 0)), seen(2, PLACE.shifted(300, 0), 0)))
    assert [target.track_id for target in window.take(0)] == [2]


def test_a_head_does_not_hold_the_face_of_a_candidate() -> None:
    window = lookback(0)
    head, face = Box(100, 100, 200, 220), Box(120, 140, 180, 210)
    window.push(0, 0, (seen(1, head, 0, HEAD), candidate(seen(2, face, 0))))
    window.push(1, 33 * MS, (seen(1, head, 33, HEAD),))
    window.take(0)
    assert [target.kind for target in window.take(1)] == [HEAD]


speeds = st.floats(-12, 12)


@st.composite
def linear(draw: st.DrawFn) -> tuple[list[int], list[Box]]:
    """Times of a variable frame rate and the true boxes of something that moves in a straight line."""
    steps = draw(st.lists(st.integers(8, 120), min_size=25, max_size=60))
    times = [sum(steps[: at + 1]) for at in range(len(steps))]
    width, height = draw(st.floats(12, 120)), draw(st.floats(12, 120))
    size = (width + height) / 2
    dx, dy = draw(speeds) * size / 1000, draw(speeds) * size / 1000
    boxes = [
        Box(500 + dx * t, 500 + dy * t, 500 + dx * t + width, 500 + dy * t + height).shifted(-width / 2, 0)
        for t in times
    ]
    return times, boxes


def pace_of(times: list[int], boxes: list[Box]) -> float:
    """Sizes a second, along the faster axis."""
    size = (boxes[0].width + boxes[0].height) / 2
    moved = boxes[1].shifted(-boxes[0].x0, -boxes[0].y0)
    return max(abs(moved.x0), abs(moved.y0)) * 1000 / (times[1] - times[0]) / size


def leaves_with(times: list[int], number: int, lookback_ms: int = LOOKBACK_MS) -> int:
    """The newest frame that is known when frame `number` leaves."""
    return next((n for n, t in enumerate(times) if t >= times[number] + lookback_ms), len(times) - 1)


@given(linear(), st.integers(5, 20))
@settings(max_examples=60, deadline=None)
def test_a_linear_object_is_covered_before_its_first_sighting(
    world: tuple[list[int], list[Box]], first: int
) -> None:
    """At any speed where 0.4 s of sightings are known when the frame leaves, else up to 0.7 sizes/s."""
    times, boxes = world
    out = run([(t, box, n >= first) for n, (t, box) in enumerate(zip(times, boxes, strict=True))])
    pace = pace_of(times, boxes)
    for number in range(first):
        if times[first] - times[number] > LOOKBACK_MS:
            continue
        newest = leaves_with(times, number)
        if times[newest] - times[first] >= 400 or pace <= LIKELY_SPEED:
            assert any(contains(target.box, boxes[number]) for target in out[number]), number


@given(linear(), st.integers(6, 12), st.integers(1, 12), st.sampled_from([0, 200, 500, 1500]))
@settings(max_examples=60, deadline=None)
def test_an_object_lost_and_found_within_hold_is_covered_throughout(
    world: tuple[list[int], list[Box]], lost: int, missing: int, lookback_ms: int
) -> None:
    """At any speed where its return, or 0.25 s before the gap, are known when a frame leaves; else as far as
    its box grows."""
    times, boxes = world
    found = lost + missing
    if times[found] - times[lost - 1] > HOLD_S * 1000:
        return
    out = run(
        [(t, box, not lost <= n < found) for n, (t, box) in enumerate(zip(times, boxes, strict=True))],
        lookback_ms,
    )
    is_predicted = times[lost - 1] - times[0] >= BASELINE_S * 1000 or pace_of(times, boxes) <= GROWTH_PER_S
    for number in range(len(times)):
        is_known = not lost <= number < found or found <= leaves_with(times, number, lookback_ms)
        if is_known or is_predicted:
            assert any(contains(target.box, boxes[number]) for target in out[number]), number


@given(linear(), st.integers(0, 2**32), st.floats(0, 0.4))
@settings(max_examples=50, deadline=None)
def test_random_misses_leave_no_frame_uncovered(
    world: tuple[list[int], list[Box]], seed: int, missed: float
) -> None:
    times, boxes = world
    chance = random.Random(seed)
    hits = [chance.random() >= missed for _ in times]
    last_hit = max((n for n, hit in enumerate(hits) if hit), default=-1)
    second = [n for n, hit in enumerate(hits) if hit][1:2]
    out = run([(t, box, hit) for t, box, hit in zip(times, boxes, hits, strict=True)])
    for number in range(second[0] if second else 0, last_hit + 1):
        assert any(contains(target.box, boxes[number]) for target in out[number]), number
