"""Totals of a segment: only its own frames, each track once."""

from __future__ import annotations

import random
import tracemalloc

from veil.audit.tally import FrameTally, Tally, Totals, packed


def frame(sequence: int, *track_ids: int, whole: str | None = None) -> FrameTally:
    return FrameTally(
        sequence=sequence,
        detections={"face": len(track_ids)},
        tracks=packed({"face": track_ids} if track_ids else {}),
        lowest_score_permille=900 - sequence,
        operators={} if whole else {"solid": len(track_ids)},
        whole_reason=whole,
    )


def test_a_segment_counts_its_own_frames_and_each_track_once() -> None:
    tally = Tally()
    for each in (frame(1, 9), frame(2, 1, 2), frame(3, 2, 3), frame(4, whole="detector_late"), frame(5, 7)):
        tally.add(each)
    data = tally.close_segment(2, 4)
    assert data["detections"] == {"face": 4}
    assert data["tracks"] == {"face": 3}
    assert data["masks"] == 4
    assert data["whole_frames"] == {"detector_late": 1}
    assert data["lowest_score_permille"] == 896
    assert tally.close_segment(5, 5)["tracks"] == {"face": 1}


def test_totals_of_a_file_are_of_all_its_frames_however_many() -> None:
    totals = Totals()
    for sequence in range(300_000):
        totals.add(frame(0, sequence % 5))
    assert totals.data()["masks"] == 300_000
    assert totals.data()["tracks"] == {"face": 5}


def test_what_is_said_of_a_segment_does_not_depend_on_when_it_was_written() -> None:
    random.seed(7)
    frames = [frame(number, *random.sample(range(20), 3)) for number in range(1, 400, 2)]
    at_once, by_and_by = Tally(), Tally()
    for each in frames:
        at_once.add(each)
        by_and_by.add(each)
        if random.random() < 0.2:
            by_and_by.settle(range(40, min(302, max(40, each.sequence - random.randrange(60)))))
    assert by_and_by.close_segment(40, 301) == at_once.close_segment(40, 301)
    assert by_and_by.close_segment(303, 400) == at_once.close_segment(303, 400)


def test_a_segment_that_never_closed_is_not_part_of_the_next() -> None:
    tally = Tally()
    for number in range(1, 9):
        tally.add(frame(number, number))
    tally.settle(range(2, 4))
    assert tally.close_segment(5, 7)["tracks"] == {"face": 3}


def test_a_long_segment_takes_no_more_memory_than_a_short_one() -> None:
    tally, ids = Tally(), range(1000, 1100)
    sizes = []
    tracemalloc.start()
    try:
        for number in range(2_000):
            tally.add(frame(number, *ids))
            if number % 30 == 29:
                tally.settle(range(0, number + 1))
            if number in {499, 1_999}:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 30_000
    assert tally.close_segment(0, 1_999)["tracks"] == {"face": 100}


def test_frames_that_no_recorder_takes_do_not_pile_up() -> None:
    tally = Tally(most_frames=10)
    for number in range(100):
        tally.add(frame(number, number))
    assert len(tally) == 10
    assert tally.close_segment(0, 99)["tracks"] == {"face": 10}
