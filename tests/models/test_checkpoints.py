"""The committed checkpoints are the released weights: float and INT8 see the same things."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from veil_models.boxes import iou_matrix
from veil_models.detect import OnnxDetector, letterbox

torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/requirements-train.txt")

MODELS = Path(__file__).parents[2] / "models"
CHECKPOINTS = sorted((MODELS / "checkpoints").glob("*.pt"))


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda p: p.stem)
def test_float_and_int8_find_the_same_at_nearly_the_same_score(path: Path) -> None:
    from veil_models.checkpoint import load_folded
    from veil_models.onnx_writer import write_float

    name, nodes, weights = load_folded(path)
    bundle = MODELS / "bundles" / name
    real = OnnxDetector("float", write_float(nodes, weights).SerializeToString())
    whole = OnnxDetector("int8", bundle / "model.onnx")
    compared = 0
    for picture in sorted((bundle / "golden").glob("*.png")):
        seen, _ = letterbox(np.ascontiguousarray(cv2.imread(str(picture))[:, :, ::-1]), 640)
        a, b = real.find(seen, 0.4), whole.find(seen, 0.2)
        for box, category, score in zip(a.xyxy, a.category, a.score, strict=True):
            same = iou_matrix(b.xyxy, box[None])[:, 0] >= 0.5
            same &= b.category == category
            assert same.any()
            assert np.abs(b.score[same] - score).min() < 0.15
            compared += 1
    assert compared >= 5


@pytest.mark.parametrize("path", CHECKPOINTS, ids=lambda p: p.stem)
def test_a_checkpoint_is_small_and_can_be_trained_on(path: Path, tmp_path: Path) -> None:
    from veil_models.train import Plan, enrol

    assert path.stat().st_size <= 3_000_000
    student = enrol(path.stem, path, Plan(), torch.device("cpu"))
    assert student.step > 0
    assert all(bool(torch.isfinite(p).all()) for p in student.net.parameters())


def test_a_mix_is_the_mean_and_of_one_net_alone(tmp_path: Path) -> None:
    from veil_models.checkpoint import mix

    first = torch.load(MODELS / "checkpoints" / "veil-n.pt", weights_only=True)
    second = {
        **first,
        "average": {k: v.float() * 3 if v.is_floating_point() else v for k, v in first["average"].items()},
    }
    torch.save(second, tmp_path / "b.pt")
    mix([MODELS / "checkpoints" / "veil-n.pt", tmp_path / "b.pt"], tmp_path / "c.pt")
    mixed = torch.load(tmp_path / "c.pt", weights_only=True)
    for key, value in first["average"].items():
        if value.is_floating_point():
            torch.testing.assert_close(mixed["average"][key], value.float() * 2)
    with pytest.raises(ValueError, match="different nets"):
        mix(CHECKPOINTS, tmp_path / "d.pt")
