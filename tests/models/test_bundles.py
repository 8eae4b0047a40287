"""What is released: small, whole, the same in both runtimes, and no picture of a data set in it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from veil_models.boxes import iou_matrix
from veil_models.compare import GOLDEN_FLOOR, golden_inputs, on_golden
from veil_models.dataset import CLASSES
from veil_models.detect import OnnxDetector, TfliteDetector
from veil_models.golden import all_golden
from veil_models.graph import outputs

BUNDLES = Path(__file__).parents[2] / "models" / "bundles"
FIGURES = Path(__file__).parents[2] / "models" / "figures"
RELEASED = sorted(p.parent for p in BUNDLES.glob("*/bundle.toml"))

pytestmark = pytest.mark.skipif(not RELEASED, reason="no bundle is released yet")


@pytest.fixture(params=RELEASED, ids=lambda p: p.name)
def bundle(request: pytest.FixtureRequest) -> Path:
    folder = request.param
    assert isinstance(folder, Path)
    return folder


def manifest(bundle: Path) -> dict[str, Any]:
    return tomllib.loads((bundle / "bundle.toml").read_text())


def test_the_manifest_lists_every_file_by_its_hash(bundle: Path) -> None:
    there = {
        p.relative_to(bundle).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in bundle.rglob("*")
        if p.is_file() and p.name != "bundle.toml"
    }
    assert manifest(bundle)["files"] == there


def test_model_files_stay_below_a_megabyte_and_a_half(bundle: Path) -> None:
    assert (bundle / "model.onnx").stat().st_size <= 1_500_000
    assert (bundle / "model.tflite").stat().st_size <= 1_500_000


def test_golden_pictures_are_the_rendered_ones(bundle: Path) -> None:
    pytest.importorskip("skimage")
    expected = {g.name: g.rgb for g in all_golden()}
    shipped = {p.name: p for p in (bundle / "golden").glob("*.png")}
    assert shipped.keys() == expected.keys()
    for name, path in shipped.items():
        np.testing.assert_array_equal(cv2.imread(str(path))[:, :, ::-1], expected[name])


def test_both_files_find_the_golden_objects_and_agree(bundle: Path) -> None:
    about = manifest(bundle)
    width, height = about["input"]["size"]
    expected = json.loads((bundle / "golden" / "expected.json").read_text())
    onnx, tflite = both(bundle)
    hits = dict.fromkeys((onnx, tflite), 0)
    for name, canvas in golden_inputs(bundle):
        a, b = onnx.raw(canvas), tflite.raw(canvas)
        for output in outputs():
            assert np.abs(a[output] - b[output]).mean() < 0.02
        shape = cv2.imread(str(bundle / "golden" / name)).shape
        scale = min(width / shape[1], height / shape[0])
        for detector in hits:
            found = detector.find(canvas, 0.05)
            for e in (e for e in expected if e["file_name"] == name):
                category = CLASSES.index(e["category"])
                x, y, w, h = (v * scale for v in e["bbox"])
                good = iou_matrix(found.xyxy, np.array([[x, y, x + w, y + h]], np.float32))[:, 0] >= 0.4
                sure = found.score >= about["thresholds"][e["category"]]["score"]
                hits[detector] += bool((good & sure & (found.category == category)).any())
    assert min(hits.values()) >= about["selftest"]["min_recall"] * len(expected)
    assert len(expected) >= 5


def test_both_files_give_the_boxes_and_scores_of_the_float_net(bundle: Path) -> None:
    """What that sees is written down by `eval`: PyTorch, which it is made with, is not needed here."""
    said = json.loads((FIGURES / bundle.name / "golden-float.json").read_text())
    for detector in both(bundle):
        mine = on_golden(detector, bundle)
        for these, those in ((said, mine), (mine, said)):
            strong = [each for each in these if each["score"] >= GOLDEN_FLOOR + 0.2]
            assert len(strong) >= 10
            for each in strong:
                same = [
                    abs(other["score"] - each["score"])
                    for other in those
                    if (other["file_name"], other["category"]) == (each["file_name"], each["category"])
                    and _overlap(other["bbox"], each["bbox"]) >= 0.7
                ]
                assert min(same, default=1.0) < 0.08, (detector.name, each)


def both(bundle: Path) -> tuple[OnnxDetector, TfliteDetector]:
    return (
        OnnxDetector("onnx", bundle / "model.onnx"),
        TfliteDetector("tflite", bundle / "model.tflite"),
    )


def _overlap(a: list[float], b: list[float]) -> float:
    boxes = [np.array([[x, y, x + w, y + h]], np.float32) for x, y, w, h in (a, b)]
    return float(iou_matrix(*boxes)[0, 0])
