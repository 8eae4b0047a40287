"""Bundles and pictures that several tests of the detector share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detect.bundles import MANIFEST, YUNET, spot_model, write_bundle
from detect.tflite_made import spot_tflite

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle `spot`, verified and runnable by both runtimes."""
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "spot", MANIFEST, {"model.onnx": spot_model(), "model.tflite": spot_tflite()})
    return folder


@pytest.fixture(scope="session")
def yunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle `yunet`; skipped where the teacher is missing."""
    model = SHARED / "teachers" / "yunet_n_640_640.onnx"
    if not model.is_file():
        pytest.skip("needs ../shared/teachers")
    folder = tmp_path_factory.mktemp("yunet")
    write_bundle(folder / "yunet", YUNET, {"model.onnx": model.read_bytes()})
    return folder


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """scikit-image's public-domain portrait, [512, 512, 3] RGB."""
    import skimage.data as pictures

    return np.asarray(pictures.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
