"""The evaluator counts as the issue says: greedy, IoU >= 0.4, objects of at least 10 px, ignores count
nothing."""

from __future__ import annotations

import numpy as np
import pytest

from veil_models.boxes import Array, iou_matrix, nms
from veil_models.detect import Found
from veil_models.evaluate import coverage
from veil_models.metrics import Tally, Truth


def found(*rows: tuple[float, float, float, float, float]) -> Found:
    data = np.array(rows, np.float32).reshape(-1, 5)
    return Found(data[:, :4], np.zeros(len(data), np.int64), data[:, 4])


def truth(*rows: tuple[float, float, float, float], ignored: int = 0) -> Truth:
    """The last `ignored` boxes are ignore regions."""
    flags = np.array([i >= len(rows) - ignored for i in range(len(rows))], bool)
    return Truth(np.array(rows, np.float32).reshape(-1, 4), flags)


def test_two_detections_of_one_face_are_a_hit_and_a_false_alarm() -> None:
    tally = Tally()
    tally.add(found((0, 0, 20, 20, 0.9), (1, 1, 21, 21, 0.8)), truth((0, 0, 20, 20)))
    curve = tally.curve()
    assert (curve.hits.tolist(), curve.alarms.tolist(), curve.truths) == ([1, 1], [0, 1], 1)


def test_what_lies_on_an_ignore_region_counts_nothing() -> None:
    tally = Tally()
    tally.add(
        found((0, 0, 20, 20, 0.9), (50, 50, 60, 61, 0.8)), truth((0, 0, 20, 20), (40, 40, 80, 80), ignored=1)
    )
    assert tally.curve().alarms.tolist() == [0]
    assert tally.curve().truths == 1


def test_faces_under_ten_pixels_count_nothing_either_way() -> None:
    tally = Tally()
    tally.add(found((0, 0, 8, 8, 0.9), (50, 50, 58, 58, 0.9)), truth((0, 0, 8, 8)))
    assert (len(tally.score), tally.curve().truths) == (0, 0)


def test_a_better_score_takes_the_truth_first() -> None:
    tally = Tally()
    tally.add(found((0, 0, 20, 14, 0.5), (0, 0, 20, 20, 0.9)), truth((0, 0, 20, 20)))
    assert tally.hit == [True, False]


def test_average_precision_of_a_perfect_and_of_a_half_blind_detector() -> None:
    tally = Tally()
    tally.add(found((0, 0, 20, 20, 0.9)), truth((0, 0, 20, 20)))
    assert tally.curve().average_precision() == pytest.approx(1.0)
    tally.add(found(), truth((0, 0, 20, 20)))
    assert tally.curve().average_precision() == pytest.approx(0.5)


def test_recall_at_precision_and_at_false_alarms() -> None:
    tally = Tally()
    tally.add(found((0, 0, 20, 20, 0.9), (100, 0, 120, 20, 0.8)), truth((0, 0, 20, 20)))
    tally.add(found((0, 0, 20, 20, 0.7)), truth((0, 0, 20, 20)))
    curve = tally.curve()
    recall, threshold = curve.recall_at_precision(0.9)
    assert (recall, threshold) == (pytest.approx(0.5), pytest.approx(0.9))
    assert curve.recall_at_precision(0.6)[0] == pytest.approx(1.0)
    assert curve.recall_at_alarms(0.1)[0] == pytest.approx(0.5)
    assert curve.at(0.75) == (pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.5))


def test_buckets_split_truths_and_detections_by_size() -> None:
    tally = Tally()
    tally.add(found((0, 0, 12, 12, 0.9), (50, 0, 90, 40, 0.8)), truth((0, 0, 12, 12), (50, 0, 90, 40)))
    assert tally.curve(8, 16).truths == 1
    assert tally.curve(32, 96).hits.tolist() == [1]


def test_coverage_is_the_share_of_the_face_under_the_boxes() -> None:
    face: Array = np.array([[0, 0, 20, 20]], np.float32)
    halves = np.array([[0, 0, 10, 20], [0, 0, 10, 20]], np.float32)
    score = np.array([0.9, 0.8], np.float32)
    assert coverage([(face, halves, score)], 0.5) == pytest.approx(0.5)
    assert coverage([(face, halves, score)], 0.95) == 0.0


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 60]], np.float32)
    score = np.array([0.5, 0.9, 0.3], np.float32)
    assert nms(boxes, score, 0.45).tolist() == [1, 2]
    assert nms(boxes[:0], score[:0], 0.45).tolist() == []


def test_overlap_of_disjoint_and_equal_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(iou_matrix(boxes, boxes), np.eye(2), atol=1e-6)
