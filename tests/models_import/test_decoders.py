"""Decoders of imported models: the boxes that the exporters' own post-processing finds, or an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models_import import reference
from models_import.exports import EXPORTS, Corners, Put
from models_import.reference import Scored
from veil.detect.decode import Decoder, Found, make_decoder
from veil.detect.manifest import DecoderTable
from veil.errors import DetectorError

LOWEST = 0.2
KINDS = sorted(EXPORTS)
_REFERENCES: dict[str, Callable[..., Iterator[Scored]]] = {
    "scrfd": reference.scrfd,
    "retinaface": reference.retinaface,
    "yolov5_face": reference.yolov5_face,
    "yolov5_face_raw": reference.yolov5_face_raw,
    "yolov8": reference.yolov8,
}


def _decoder(kind: str, strides: tuple[int, ...] = (8, 16, 32), **own: Any) -> Decoder:
    if kind == "yolov8":
        own = {"channels": (0,), "values": 5, **own}
    table = DecoderTable.model_validate({"kind": kind, "strides": strides, "nms_iou": 0.4, **own})
    return make_decoder(table, [LOWEST] * max(1, len(table.channels)))


def _random(
    kind: str, decoder: Decoder, width: int, height: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Outputs in the range of a trained model's: scores as shares, the rest around its size."""
    rng = np.random.default_rng(seed)
    outputs: dict[str, NDArray[np.float32]] = {}
    for name, shape in decoder.shapes(width, height).items():
        if name.startswith(("score", "conf")):
            values = rng.uniform(0, 1, shape)
        elif kind == "yolov5_face":
            values = rng.uniform(-5, 90, shape)
            values[..., [4, 15]] = rng.uniform(0, 1, (*shape[:2], 2))
            values[..., 2:4] = np.abs(values[..., 2:4])
        elif kind == "yolov8":
            values = rng.uniform(0, 1, shape)
            values[:, :4] = rng.uniform(0, 90, (1, 4, shape[2]))
        else:
            values = rng.normal(0, 2, shape)
        outputs[name] = values.astype(np.float32)
    return outputs


def _rows(found: Found) -> NDArray[np.float64]:
    table = np.concatenate(
        [found.boxes, found.scores[:, None], found.labels[:, None]], axis=1, dtype=np.float64
    )
    return table[np.lexsort(table.round(3).T)]


def _expected(scored: Iterator[Scored]) -> NDArray[np.float64]:
    table = np.array([each for each in scored if each[4] >= LOWEST], np.float64).reshape(-1, 6)
    return table[np.lexsort(table.round(3).T)]


def _same(found: Found, scored: Iterator[Scored]) -> None:
    ours, theirs = _rows(found), _expected(scored)
    assert len(ours) == len(theirs) > 0
    order = [np.lexsort((table[:, 0], table[:, 5], table[:, 4])) for table in (ours, theirs)]
    np.testing.assert_allclose(ours[order[0]], theirs[order[1]], rtol=2e-5, atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_those_of_the_published_post_processing(kind: str, seed: int) -> None:
    decoder = _decoder(kind)
    outputs = _random(kind, decoder, 96, 64, seed)
    _same(decoder.candidates(outputs, 96, 64), _REFERENCES[kind](outputs, 96, 64))


def test_scrfd_of_five_strides_has_one_anchor_a_cell() -> None:
    decoder = _decoder("scrfd", (8, 16, 32, 64, 128))
    outputs = _random("scrfd", decoder, 256, 128, 1)
    assert outputs["score_128"].shape == (1, 2, 1)
    _same(decoder.candidates(outputs, 256, 128), reference.scrfd(outputs, 256, 128, anchors=1))


def test_scrfd_without_an_axis_for_the_batch_is_read_as_well() -> None:
    decoder = _decoder("scrfd")
    outputs = _random("scrfd", decoder, 96, 64, 0)
    flat = {name: values[0] for name, values in outputs.items()}
    assert (
        _rows(decoder.candidates(flat, 96, 64)).tolist()
        == _rows(decoder.candidates(outputs, 96, 64)).tolist()
    )


def test_yolov8_reads_the_classes_that_were_named_and_neither_others_nor_key_points() -> None:
    decoder = _decoder("yolov8", channels=(3, 1), values=4 + 5 + 15)
    outputs = _random("yolov8", decoder, 96, 64, 2)
    outputs["output0"][0, 9:] = 500
    found = decoder.candidates(outputs, 96, 64)
    assert set(found.labels.tolist()) == {0, 1}
    _same(found, partial(reference.yolov8, channels=(3, 1))(outputs, 96, 64))


def test_a_second_size_has_priors_of_its_own() -> None:
    decoder = _decoder("retinaface")
    for width, height in ((96, 64), (64, 96), (96, 64)):
        outputs = _random("retinaface", decoder, width, height, 0)
        _same(decoder.candidates(outputs, width, height), reference.retinaface(outputs, width, height))


@st.composite
def _boxes(draw: st.DrawFn) -> list[tuple[Corners, float]]:
    """Up to four boxes within 320 x 256, each of other scores."""
    found = []
    for index in range(draw(st.integers(1, 4))):
        width, height = draw(st.floats(16, 200)), draw(st.floats(16, 200))
        cx = draw(st.floats(8.5, 319.0))
        cy = draw(st.floats(8.5, 255.0))
        box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        found.append((box, 0.3 + 0.15 * index + draw(st.floats(0, 0.1))))
    return found


@pytest.mark.parametrize("kind", KINDS)
@given(boxes=_boxes())
def test_what_was_encoded_is_decoded(kind: str, boxes: list[tuple[Corners, float]]) -> None:
    export = EXPORTS[kind](320, 256)
    puts: dict[object, Put] = {}
    for box, score in boxes:
        put = export.put(box, score)
        puts[put.at] = put  # a cell holds one box: the last
    decoder = _decoder(kind)
    wanted = {name: export.arrays[name] for name in decoder.shapes(320, 256)}
    found = decoder.candidates(wanted, 320, 256)
    order = np.argsort(found.scores)
    encoded = sorted(puts.values(), key=lambda put: put.score)
    assert found.scores[order] == pytest.approx([put.score for put in encoded], abs=1e-4)
    np.testing.assert_allclose(found.boxes[order], [put.box for put in encoded], rtol=1e-4, atol=0.02)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_a_number_that_is_not_finite_is_an_error_wherever_it_is(kind: str, value: float) -> None:
    decoder = _decoder(kind)
    for name in decoder.shapes(96, 64):
        outputs = _random(kind, decoder, 96, 64, 0)
        outputs[name].reshape(-1)[-1] = value
        with pytest.raises(DetectorError, match=f"{name} .*not finite"):
            decoder.candidates(outputs, 96, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_that_is_missing_or_of_another_shape_is_an_error(kind: str) -> None:
    decoder = _decoder(kind)
    outputs = _random(kind, decoder, 96, 64, 0)
    with pytest.raises(DetectorError, match="its decoder reads"):
        decoder.candidates(outputs, 128, 64)
    for name in outputs:
        with pytest.raises(DetectorError, match=f"{name} is nothing"):
            decoder.candidates({other: outputs[other] for other in outputs if other != name}, 96, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_but_finite_numbers_give_finite_boxes(kind: str) -> None:
    decoder = _decoder(kind)
    for extreme in (-1e6, 1e6):
        outputs = {
            name: np.full(shape, extreme, np.float32) for name, shape in decoder.shapes(96, 64).items()
        }
        found = decoder.candidates(outputs, 96, 64)
        assert np.isfinite(found.boxes).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
        assert (len(found) > 0) == (extreme > 0)


def test_anchors_are_where_the_model_was_trained_to_have_them() -> None:
    """The corner of the cell for SCRFD, its middle for RetinaFace: half a stride apart."""
    scrfd, retina = _decoder("scrfd"), _decoder("retinaface")
    outputs = {name: np.zeros(shape, np.float32) for name, shape in scrfd.shapes(96, 64).items()}
    outputs["score_16"][0, 2 * (6 + 2)], outputs["bbox_16"][0, 2 * (6 + 2)] = 1, 0.5
    assert scrfd.candidates(outputs, 96, 64).boxes.tolist() == [[24, 8, 40, 24]]
    outputs = {name: np.zeros(shape, np.float32) for name, shape in retina.shapes(96, 64).items()}
    outputs["conf"][0, 2 * 96 + 2 * (6 + 2), 1] = 1
    assert retina.candidates(outputs, 96, 64).boxes.tolist() == [[40 - 32, 24 - 32, 40 + 32, 24 + 32]]
    assert math.isclose(retina.candidates(outputs, 96, 64).scores[0], 1)
