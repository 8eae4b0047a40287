"""Totals of a segment: only its own frames, each track once."""

from __future__ import annotations

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
