"""Figures of a detector whose answers are known: by class, source and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from veil_models.dataset import Label, Picture
from veil_models.detect import Found
from veil_models.evaluate import evaluate, table


class _Knows:
    """Finds the small face a little off, the large one exactly, and a middle-sized one that is not there."""

    name = "knows"

    def find(self, rgb: np.ndarray, floor: float) -> Found:
        del rgb, floor
        boxes = np.array([[10, 10, 32, 30], [200, 100, 400, 300], [500, 20, 550, 70]], np.float32)
        return Found(boxes, np.zeros(3, np.int64), np.array([0.9, 0.8, 0.7], np.float32))


def test_each_size_has_its_own_figures() -> None:
    faces = (
        Label("face", 10, 10, 20, 20),
        Label("face", 200, 100, 200, 200),
        Label("face", 600, 400, 20, 20),
    )
    picture = Picture(Path("a.png"), 640, 480, "hall", frozenset({"face"}), faces)
    pixels = np.zeros((480, 640, 3), np.uint8)
    figures, _ = evaluate(_Knows(), [(picture, pixels)], 640, {"face": 0.5})
    small, middle, large = (figures[f"face/{size} px"] for size in ("16-32", "32-96", ">96"))
    assert (small.truths, small.recall, small.precision) == (2, 0.5, 1.0)
    assert small.mean_iou == pytest.approx(20 / 22)
    assert small.coverage == pytest.approx(0.5)
    assert (small.ap50, small.ap5095) == pytest.approx((0.5, 0.45), abs=1e-6)
    assert (middle.truths, middle.precision, middle.alarms) == (0, 0.0, 1.0)
    assert (large.truths, large.recall, large.f1, large.ap5095) == (1, 1.0, 1.0, pytest.approx(1.0))
    assert figures["face"].recall == pytest.approx(2 / 3)
    assert figures["face"].f1 == pytest.approx(2 / 3)
    assert figures["face/hall"].ap50 == figures["face"].ap50 > 0
    said = table("knows", figures)
    assert "face/16-32 px" in said
    assert "face/hall" in said
