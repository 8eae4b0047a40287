"""What a large box has to score in moving pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from veil.config import ThresholdConfig
from veil.detect.manifest import ThresholdTable
from veil.detect.thresholds import believed, effective
from veil.domain.detection import ObjectClass
from veil.domain.thresholds import LARGE, SMALL, ClassThresholds


def answer(side: float, score: float, *, low: float = 0.1, large: float = 0.4) -> bool:
    boxes = np.array([[10.0, 20.0, 10.0 + side / 2, 20.0 + side]])
    found = believed(boxes, np.array([score]), np.array([low]), np.array([large]), 1000.0)
    assert found.shape == (1,)
    return bool(found[0])


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
    def one(box: list[float], score: float) -> NDArray[np.bool_]:
        return believed(np.array([box]), np.array([score]), np.array([0.1]), np.array([0.4]), 1000.0)

    assert one([bad, 0, 10, 10], 0.9).all()
    assert one([0, 0, 900, 900], bad).all()


def test_no_detections_are_no_answer() -> None:
    assert believed(np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0), 720.0).shape == (0,)


def test_the_configuration_comes_before_the_bundle() -> None:
    bundle = {ObjectClass.FACE: ThresholdTable(score=0.2, low=0.1, large=0.4)}
    assert effective(bundle, {})[ObjectClass.FACE] == ClassThresholds(0.2, 0.1, 0.0, 0.4)
    asked = {ObjectClass.FACE: ThresholdConfig(large=0.0)}
    assert effective(bundle, asked)[ObjectClass.FACE] == ClassThresholds(0.2, 0.1, 0.0, 0.0)
