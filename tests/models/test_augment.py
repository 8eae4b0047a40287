"""Boxes go where their pixels go."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from veil_models.assign import FACE, PLATE, Boxes
from veil_models.augment import Placement, _h264, degrade, place


def scene(x1: int, y1: int, x2: int, y2: int, category: int) -> tuple[np.ndarray, Boxes]:
    rgb = np.zeros((300, 400, 3), np.uint8)
    if category == FACE:
        centre, axes = ((x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2), ((x2 - x1) / 2, (y2 - y1) / 2)
        yy, xx = np.mgrid[:300, :400]
        rgb[((xx - centre[0]) / axes[0]) ** 2 + ((yy - centre[1]) / axes[1]) ** 2 <= 1] = 255
    else:
        rgb[y1:y2, x1:x2] = 255
    one = np.ones(1, np.float32)
    return rgb, Boxes(np.array([[x1, y1, x2, y2]], np.float32), np.array([category]), one, one)


@pytest.mark.parametrize("category", [FACE, PLATE])
@pytest.mark.parametrize("scale", [0.2, 0.45, 0.8, 1.0, 1.7])
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2, np.pi])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_moved_box_fits_its_moved_pixels(category: int, scale: float, angle: float, mirrored: bool) -> None:
    rgb, boxes = scene(150, 120, 230, 180, category)
    crop, moved = place(rgb, boxes, Placement(180, 140, scale, angle, mirrored), 256, 256)
    x, y, w, h = cv2.boundingRect((crop[:, :, 0] > 128).astype(np.uint8))  # the border's grey is 114
    np.testing.assert_allclose(moved.xyxy[0], [x, y, x + w, y + h], atol=1.6)


def test_what_is_mostly_outside_becomes_an_ignore_region_and_what_is_outside_vanishes() -> None:
    rgb, boxes = scene(150, 120, 230, 180, PLATE)
    _, partly = place(rgb, boxes, Placement(70, 140, 1.0, 0.0, mirrored=False), 180, 180)
    assert partly.weight.tolist() == [0.0]
    _, gone = place(rgb, boxes, Placement(50, 50, 1.0, 0.0, mirrored=False), 100, 100)
    assert len(gone.xyxy) == 0


def test_degrading_keeps_shape_and_type_and_is_repeatable() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (192, 224, 3)).astype(np.uint8)
    for seed in range(60):
        a = degrade(rgb.copy(), np.random.default_rng(seed))
        assert (a.shape, a.dtype) == (rgb.shape, np.uint8)
        np.testing.assert_array_equal(a, degrade(rgb.copy(), np.random.default_rng(seed)))


def test_many_dark_pictures_are_noisy_too() -> None:
    grey = np.full((96, 96, 3), 160, np.uint8)
    pictures = [degrade(grey, np.random.default_rng(seed)) for seed in range(600)]
    noise = [float(p.std(axis=(0, 1)).max()) for p in pictures if p.mean() < 90]
    assert len(noise) > 30
    assert sum(n > 1.5 for n in noise) > 0.3 * len(noise)


@pytest.mark.parametrize(("height", "width"), [(192, 224), (97, 131)])
def test_few_bits_of_h264_smear_a_picture_and_leave_everything_in_its_place(height: int, width: int) -> None:
    rng = np.random.default_rng(5)
    rgb = cv2.resize(rng.integers(0, 256, (height // 6, width // 6, 3), np.uint8), (width, height))
    for seed in range(8):
        coded = _h264(rgb, np.random.default_rng(seed))
        assert coded.shape == rgb.shape
        inner = (slice(16, -16), slice(16, -16))
        off = {
            move: np.abs(np.roll(coded, move, (0, 1)).astype(int) - rgb)[inner].mean()
            for move in ((0, 0), (3, 0), (-3, 0), (0, 3), (0, -3))
        }
        assert min(off, key=lambda move: off[move]) == (0, 0), seed
        assert off[0, 0] > 1.0, seed
        np.testing.assert_array_equal(coded, _h264(rgb, np.random.default_rng(seed)))
