"""Columns say the same as the values that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_made import info
from veil.detect.guard import objection
from veil.domain.cover import Reason
from veil.domain.detection import Detection, DetectionReport, DetectionTable, ObjectClass
from veil.domain.geometry import Box
from veil.domain.track import Track, TrackState, TrackTable
from veil.mask.sightings import Sightings, places
from veil.mask.targets import Target, TargetTable

FACE, PLATE, HEAD = ObjectClass.FACE, ObjectClass.PLATE, ObjectClass.HEAD
BOX, OTHER = Box(1.5, 2.0, 30.25, 40.0), Box(0.0, 0.0, 8.0, 9.0)


def test_detections_tracks_and_targets_come_back_as_they_were() -> None:
    detections = (Detection(PLATE, BOX, 0.25, is_sure=False), Detection(FACE, OTHER, 1.0))
    tracks = (
        Track(7, HEAD, TrackState.HELD, BOX, None, 0.5, 1, 2),
        Track(9, FACE, TrackState.SEEN, BOX, OTHER, 0.75, 3, 4, is_sure=False),
    )
    targets = (Target(FACE, BOX, 0.5, 3), Target(HEAD, OTHER, 0.125, 1))
    assert DetectionTable.of(detections) == detections
    assert TrackTable.of(tracks) == tracks
    assert TargetTable.of(targets) == targets
    assert TargetTable.joined([TargetTable.of(()), TargetTable.of(targets), TargetTable.of(targets)]) == (
        *targets,
        *targets,
    )
    assert DetectionTable.of(detections) != detections[:1]
    assert DetectionTable.of(detections) != detections[::-1]


def test_columns_count_by_class() -> None:
    table = DetectionTable.of([Detection(kind, BOX, 0.5) for kind in (HEAD, FACE, HEAD)])
    assert table.by_class() == {"face": 1, "head": 2}
    tracks = TrackTable.of([Track(5, HEAD, TrackState.HELD, BOX, None, 0.5, 1, 2)])
    assert tracks.ids_by_class() == {"head": [5]}


def report(kind: int, box: tuple[float, ...], score: float) -> DetectionReport:
    kinds, boxes, scores = np.array([0, kind]), np.array([(0, 0, 9, 9), box]), np.array([0.5, score])
    return DetectionReport(1, DetectionTable(kinds, boxes, scores), ("oracle@1",))


@pytest.mark.parametrize(
    ("kind", "box", "score"),
    [
        (0, (0, 0, math.nan, 4), 0.5),
        (0, (-math.inf, 0, 4, 4), 0.5),
        (0, (0, 0, 4, 4), math.nan),
        (0, (0, 0, 4, 4), 1.01),
        (0, (0, 0, 4, 4), -0.01),
        (len(ObjectClass), (0, 0, 4, 4), 0.5),
        (-1, (0, 0, 4, 4), 0.5),
    ],
)
def test_one_bad_row_hides_the_whole_frame(kind: int, box: tuple[float, ...], score: float) -> None:
    assert objection(report(0, (0, 0, 4, 4), 1.0), info(1)) is None
    assert objection(report(kind, box, score), info(1)) is Reason.DETECTOR_INVALID


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-8, 15)), min_size=1, max_size=40, unique=True))
def test_places_do_not_depend_on_how_far_apart_ids_are(rows: list[tuple[int, int]]) -> None:
    rows.sort(key=lambda row: row[1])
    shapes = np.array([(50.0 * track + 3 * step, 40, 20, 20 + step) for track, step in rows])
    times = np.array([step / 30 for _, step in rows])
    near, far = (
        places(
            Sightings(np.array([1 + track * apart for track, _ in rows]), times, shapes),
            smooth_s=0.25,
            reach_s=0.5,
            growth_per_s=0.1,
        )
        for apart in (1, 1_000_000)
    )
    assert np.array_equal((near.ids - 1) * 1_000_000 + 1, far.ids)
    assert np.array_equal(near.boxes, far.boxes)
