"""What a large box has to score in moving pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veil.config import ThresholdConfig
from veil.detect.manifest import ThresholdTable
from veil.detect.thresholds import SizeBounds, effective
from veil.domain.detection import CODES, DetectionTable, ObjectClass
from veil.domain.thresholds import FAR, LARGE, NEAR, SMALL, ClassThresholds

PLATE = ObjectClass.PLATE


def judged(
    boxes: list[list[float]], score: float, *, low: float = 0.1, large: float = 0.4, sure: float = 0.0
) -> DetectionTable:
    """In a picture of 1000 pixels; all boxes have one score."""
    bounds = SizeBounds.of({PLATE: ClassThresholds(max(low, 0.5), low, 0.0, large, sure)})
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    kinds = np.full(len(corners), CODES[PLATE])
    return bounds.judged(DetectionTable(kinds, corners, np.full(len(corners), score)), 1000.0)


def answer(side: float, score: float, *, low: float = 0.1, large: float = 0.4) -> bool:
    return bool(judged([[10.0, 20.0, 10.0 + side / 2, 20.0 + side]], score, low=low, large=large))


def test_small_boxes_need_the_low_score_and_large_ones_their_own() -> None:
    assert answer(1000 * SMALL, 0.1)
    assert not answer(1000 * LARGE, 0.39)
    assert answer(1000 * LARGE, 0.4)
    assert not answer(5000, 0.39)
    assert answer(1000 * math.sqrt(SMALL * LARGE), 0.26)
    assert not answer(1000 * math.sqrt(SMALL * LARGE), 0.24)


@given(st.floats(1, 3000), st.floats(1, 3000), st.floats(0, 1), st.floats(0.01, 0.5), st.floats(0, 0.6))
def test_the_bound_rises_with_size_and_is_never_under_low(
    side: float, other: float, score: float, low: float, large: float
) -> None:
    if answer(max(side, other), score, low=low, large=large):
        assert answer(min(side, other), score, low=low, large=large)
        assert score >= low - 1e-12
    if score >= max(low, large) + 1e-12:
        assert answer(side, score, low=low, large=large)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_kept_to_be_refused(bad: float) -> None:
    assert len(judged([[bad, 0, 10, 10]], 0.9)) == 1
    assert len(judged([[0, 0, 900, 900]], bad)) == 1


def test_no_detections_are_no_answer() -> None:
    assert len(judged([], 0.5)) == 0


def is_sure(side: float, score: float, *, sure: float = 0.4) -> bool:
    (found,) = judged([[0, 0, side / 3, side]], score, large=0.0, sure=sure)
    return found.is_sure


def test_far_boxes_are_sure_at_any_score_and_near_ones_from_their_own() -> None:
    assert is_sure(1000 * FAR, 0.1)
    assert not is_sure(1000 * NEAR, 0.39)
    assert is_sure(1000 * NEAR, 0.4)
    assert is_sure(1000 * math.sqrt(FAR * NEAR), 0.26)
    assert not is_sure(1000 * math.sqrt(FAR * NEAR), 0.24)


@given(st.floats(1, 3000), st.floats(0.1, 1))
def test_without_a_bound_all_are_sure_and_with_one_none_is_taken_away(side: float, score: float) -> None:
    assert is_sure(side, score, sure=0.0)
    assert len(judged([[0, 0, side, side]], score, large=0.0, sure=0.6)) == 1


def test_classes_without_thresholds_have_no_bounds() -> None:
    bounds = SizeBounds.of({PLATE: ClassThresholds(0.5, 0.4, 0.0, 0.6, 0.6)})
    kinds = np.array([CODES[ObjectClass.FACE], CODES[PLATE]])
    boxes = np.array([(0.0, 0.0, 500.0, 500.0)] * 2)
    (found,) = bounds.judged(DetectionTable(kinds, boxes, np.array([0.01, 0.45])), 1000.0)
    assert (found.kind, found.is_sure) == (ObjectClass.FACE, True)


def test_the_configuration_comes_before_the_bundle() -> None:
    bundle = {ObjectClass.FACE: ThresholdTable(score=0.2, low=0.1, large=0.4, sure=0.3)}
    assert effective(bundle, {})[ObjectClass.FACE] == ClassThresholds(0.2, 0.1, 0.0, 0.4, 0.3)
    asked = {ObjectClass.FACE: ThresholdConfig(large=0.0, sure=0.5)}
    assert effective(bundle, asked)[ObjectClass.FACE] == ClassThresholds(0.2, 0.1, 0.0, 0.0, 0.5)
