"""Pictures are read as viewers show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veil_models.errors import ModelsError
from veil_models.picture_file import picture_size, read_rgb

ORIENTATION = 0x0112


def grey16(path: Path, pixels: list[list[int]]) -> Path:
    Image.fromarray(np.array(pixels, np.uint16)).save(path)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_size_is_that_of_the_pixels_however_a_camera_was_held(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    image = Image.fromarray(np.zeros((50, 100, 3), np.uint8))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    assert picture_size(tmp_path / f"a.{suffix}") == ((50, 100) if orientation >= 5 else (100, 50))
    height, width = read_rgb(tmp_path / f"a.{suffix}").shape[:2]
    assert (width, height) == picture_size(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_sixteen_bits_keeps_its_shades(tmp_path: Path, suffix: str) -> None:
    rgb = read_rgb(grey16(tmp_path / f"a.{suffix}", [[0, 256, 32768, 65535]]))
    assert rgb.tolist() == [[[v] * 3 for v in (0, 1, 128, 255)]]


def test_grey_of_fourteen_bits_is_not_dark(tmp_path: Path) -> None:
    assert read_rgb(grey16(tmp_path / "a.png", [[0, 8192, 16383]]))[0, :, 0].tolist() == [0, 128, 255]


def test_grey_of_eight_bits_written_as_sixteen_stays(tmp_path: Path) -> None:
    assert read_rgb(grey16(tmp_path / "a.png", [[0, 7, 200]]))[0, :, 0].tolist() == [0, 7, 200]


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tif")
    for name in ("cut.png", "text.png", "float.tif", "missing.png"):
        with pytest.raises(ModelsError, match=name):
            read_rgb(tmp_path / name)
    for name in ("text.png", "missing.png"):
        with pytest.raises(ModelsError, match=name):
            picture_size(tmp_path / name)
