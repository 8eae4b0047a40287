"""The self-test: a model that finds less than it promised is not used."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detect.bundles import MANIFEST, spot_model, write_bundle
from detect.test_detector import config, scene
from veil.detect.detector import load_detector
from veil.detect.selftest import run_selftest
from veil.errors import BundleError

SPOTS = ((80, 80, 8), (320, 200, 8), (480, 320, 8), (200, 304, 8))
FOUND = [{"file_name": "a.png", "category": "face", "bbox": [x - 4, y - 4, 16, 16]} for x, y, _ in SPOTS]


def _png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scene(640, 384, *SPOTS)).save(stream, "PNG")
    return stream.getvalue()


def _bundle(folder: Path, expected: Sequence[Any] | bytes, runtime: str = "onnx", **files: bytes) -> Any:
    text = expected if isinstance(expected, bytes) else json.dumps(expected).encode()
    golden = {"golden/a.png": _png(), "golden/expected.json": text}
    write_bundle(folder / "spot", MANIFEST, {"model.onnx": spot_model(), **golden, **files})
    return load_detector(config(folder, runtime=runtime))


def test_a_model_that_finds_everything_passes(tmp_path: Path) -> None:
    result = run_selftest(_bundle(tmp_path, FOUND))
    assert (result.expected, result.found, result.recall, result.floor) == (4, 4, 1.0, 0.9)
    assert result.median_ms > 0


@pytest.mark.parametrize(
    "missed",
    [
        {"file_name": "a.png", "category": "plate", "bbox": [80, 80, 16, 16]},
        {"file_name": "a.png", "category": "face", "bbox": [0, 0, 16, 16]},
        FOUND[0],  # the same object twice: one detection answers for one
    ],
)
def test_a_model_that_finds_less_than_the_floor_is_refused(tmp_path: Path, missed: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="4 of 5") as refused:
        run_selftest(_bundle(tmp_path, [*FOUND, missed]))
    assert refused.value.hint


@pytest.mark.parametrize(
    "expected",
    [
        [],
        b"{",
        [{**FOUND[0], "file_name": "b.png"}],
        [{**FOUND[0], "file_name": "../model.onnx"}],
        [{**FOUND[0], "category": "head"}],
        [{**FOUND[0], "bbox": [1, 2, 0, 4]}],
        [{**FOUND[0], "score": 1}],
        [{**FOUND[0], "file_name": "expected.json"}],
    ],
)
def test_golden_pictures_that_do_not_verify_are_refused(tmp_path: Path, expected: Any) -> None:
    with pytest.raises(BundleError) as refused:
        run_selftest(_bundle(tmp_path, expected))
    assert refused.value.hint


def test_a_bundle_without_golden_pictures_cannot_pass(bundles: Path) -> None:
    with pytest.raises(BundleError, match="no golden"):
        run_selftest(load_detector(config(bundles)))
