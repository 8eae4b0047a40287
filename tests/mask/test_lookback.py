"""What the look-back covers: before a first sighting, in gaps, and steadily."""

from __future__ import annotations

import pytest

from mask.parts import (
    FACE,
    HEAD,
    MS,
    contains,
    held,
    lookback,
    seen,
)
from veil.domain.geometry import Box
from veil.errors import PipelineError
from veil.mask.lookback import MAX_PENDING
from veil.mask.targets import Target


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
