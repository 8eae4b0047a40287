"""Models of others become bundles: the same box comes out of every kind of output."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from veil_models.detect import decode
from veil_models.imports import (
    IMPORTERS,
    STRIDES,
    Imported,
    import_retinaface,
    import_scrfd,
    import_yolov5_face,
    import_yolov8,
    import_yunet,
    write_bundle,
)

SIZE = (128, 96)
BOX = (38.0, 30.0, 62.0, 58.0)
COLUMN, ROW, STRIDE = 3, 2, 16
"""The cell that answers for BOX: its centre is (56, 40)."""

CELLS = {s: (SIZE[0] // s) * (SIZE[1] // s) for s in STRIDES}
CELL = ROW * (SIZE[0] // STRIDE) + COLUMN


def says(**outputs: np.ndarray) -> Any:
    """A model that gives these outputs for every picture."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIZE[1], SIZE[0]])
    nodes, results = [], []
    for name, value in outputs.items():
        nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name)))
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [image], results), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return model


def the_box_of(imported: Imported) -> tuple[list[float], float]:
    session = ort.InferenceSession(imported.model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    values = session.run(names, {"input": np.zeros((1, 3, SIZE[1], SIZE[0]), np.float32)})
    found = decode({n: v[0] for n, v in zip(names, values, strict=True)}, 0.3)
    assert len(found.score) == 1
    return found.xyxy[0].tolist(), float(found.score[0])


def check(imported: Imported) -> None:
    box, score = the_box_of(imported)
    np.testing.assert_allclose(box, BOX, atol=1e-3)
    assert score == pytest.approx(0.8, abs=1e-3)


def test_scrfd() -> None:
    out: dict[str, np.ndarray] = {f"s{s}": np.zeros((CELLS[s] * 2, 1), np.float32) for s in STRIDES}
    out |= {f"b{s}": np.zeros((CELLS[s] * 2, 4), np.float32) for s in STRIDES}
    out["s16"][CELL * 2 + 1] = 0.8
    x, y = COLUMN * STRIDE, ROW * STRIDE
    out["b16"][CELL * 2 + 1] = [(x - BOX[0]) / 16, (y - BOX[1]) / 16, (BOX[2] - x) / 16, (BOX[3] - y) / 16]
    check(import_scrfd(says(**out), SIZE))


def test_retinaface() -> None:
    total = 2 * sum(CELLS.values())
    loc, conf = np.zeros((1, total, 4), np.float32), np.zeros((1, total, 2), np.float32)
    at = 2 * CELLS[8] + 2 * CELL + 1  # the prior of 128 px
    centre, size = ((BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2), (BOX[2] - BOX[0], BOX[3] - BOX[1])
    loc[0, at, 0] = (centre[0] - 56) / (0.1 * 128)
    loc[0, at, 1] = (centre[1] - 40) / (0.1 * 128)
    loc[0, at, 2:] = np.log(np.array(size) / 128) / 0.2
    conf[0, at] = [0.2, 0.8]
    check(import_retinaface(says(boxes=loc, conf=conf), SIZE))


def test_yolov5_face() -> None:
    rows = np.zeros((1, 3 * sum(CELLS.values()), 16), np.float32)
    at = 3 * CELLS[8] + 2 * CELLS[16] + CELL  # the third anchor
    rows[0, at, :5] = [(BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2, BOX[2] - BOX[0], BOX[3] - BOX[1], 0.9]
    rows[0, at, 15] = 0.8 / 0.9
    check(import_yolov5_face(says(output=rows), SIZE))


def test_yolov8() -> None:
    rows = np.zeros((1, 5, sum(CELLS.values())), np.float32)
    at = CELLS[8] + CELL
    rows[0, :, at] = [(BOX[0] + BOX[2]) / 2, (BOX[1] + BOX[3]) / 2, BOX[2] - BOX[0], BOX[3] - BOX[1], 0.8]
    check(import_yolov8(says(output0=rows), SIZE))


def test_every_kind_has_an_importer() -> None:
    assert set(IMPORTERS) == {"yunet", "centerface", "scrfd", "retinaface", "yolov5_face", "yolov8"}


def test_a_decoder_of_one_class_takes_no_second(tmp_path: Path) -> None:
    imported = Imported(says(a=np.zeros(1, np.float32)), "yunet", STRIDES, "bgr", (0.0, 0.0, 0.0), 1.0, SIZE)
    with pytest.raises(ValueError, match="one class"):
        write_bundle(tmp_path, imported, "x", "MIT", ["face", "plate"])


@pytest.mark.shared
def test_the_teacher_becomes_a_bundle_that_the_appliance_accepts(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    shared = Path(os.environ.get("VEIL_SHARED", Path(__file__).parents[3] / "shared"))
    path = shared / "teachers" / "yunet_n_640_640.onnx"
    if not path.exists():
        pytest.skip("needs ../shared/teachers")
    from veil.config import DetectorConfig
    from veil.detect.detector import load_detector
    from veil.detect.selftest import run_selftest

    write_bundle(
        tmp_path / "mine", import_yunet(onnx.load(str(path)), SIZE), "mine", "BSD-3-Clause", ["face"]
    )
    with load_detector(DetectorConfig(bundle=f"{tmp_path}/mine")) as detector:
        assert run_selftest(detector).recall == 1.0
