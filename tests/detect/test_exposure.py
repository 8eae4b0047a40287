"""Dark pictures are brightened for the model, bright ones stay, and so does the frame itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from detect.bundles import MANIFEST, spot_model, write_bundle
from detect.test_detector import config, frame, scene
from detect.test_preprocess import LIMIT, RGB8, VIDEO, smooth
from veil.detect.detector import load_detector
from veil.detect.exposure import brighten, gain_for
from veil.detect.preprocess import Preprocessor
from veil.detect.view import tile_view, whole_view
from veil.frames.picture import Planes
from veil.frames.still import i420

BRIGHTENED = MANIFEST.replace("[input]\n", "[input]\nbrighten = true\n")


def daylight(width: int, height: int) -> Planes:
    """A picture with something white in it."""
    rgb = smooth(width, height)
    rgb[: height // 10] = 250
    return i420(rgb)


def darkened(planes: Planes, share: float) -> Planes:
    """The same picture under so much of the light."""
    low = (16, 128, 128)
    return Planes(
        *(
            ((plane.astype(np.float64) - at) * share + at).round().astype(np.uint8)
            for plane, at in zip(planes, low, strict=True)
        )
    )


def copied(planes: Planes) -> Planes:
    return Planes(*(plane.copy() for plane in planes))


@pytest.mark.parametrize("share", [0.6, 0.45, 0.3])
def test_a_dark_picture_is_shown_as_bright_as_a_bright_one(share: float) -> None:
    bright = daylight(640, 360)
    dark, view = darkened(bright, share), whole_view(640, 360, LIMIT)
    wanted, got = (
        Preprocessor(view, RGB8).fill(planes, VIDEO, view).astype(int) for planes in (bright, dark)
    )
    assert np.abs(wanted - got).mean() < 20
    levels = [int(np.percentile(picture, 99)) for picture in (wanted, got)]
    assert abs(levels[0] - levels[1]) < 16


def test_a_bright_picture_stays_as_it_is_and_one_of_dusk_too() -> None:
    for share in (1.0, 0.9, 0.8, 0.75):
        planes = darkened(daylight(640, 360), share)
        assert gain_for(planes.y) == 1.0
        seen = copied(planes)
        brighten(seen, 1.0)
        assert all(np.array_equal(a, b) for a, b in zip(seen, planes, strict=True))


def test_a_lamp_does_not_make_a_night_bright() -> None:
    luma = np.full((384, 640), 40, np.uint8)
    luma[10:30, 10:30] = 255
    assert gain_for(luma) > 3


def test_a_tile_is_brightened_as_its_whole_frame_needs_it() -> None:
    planes = daylight(1280, 720)
    planes.y[360:, 640:] = 30
    whole, tile = whole_view(1280, 720, LIMIT), tile_view(640, 360, 640, 352, LIMIT)
    looks = Preprocessor(whole, RGB8)
    looks.fill(planes, VIDEO, whole)
    assert looks.gain == 1.0
    of_tile = Preprocessor(tile, RGB8)
    as_whole = of_tile.fill(planes, VIDEO, tile, looks.gain).copy()
    assert of_tile.gain == 1.0
    alone = of_tile.fill(planes, VIDEO, tile)
    assert of_tile.gain > 3
    assert alone.mean() > as_whole.mean() + 10


@given(nps.arrays(np.uint8, (16, 24), elements=st.integers(0, 255)))
def test_any_picture_is_brightened_within_bounds_and_in_order(luma: np.ndarray) -> None:
    gain = gain_for(luma)
    assert 1.0 <= gain <= 4.0
    planes = Planes(luma.copy(), luma[:8, :12].copy(), luma[:8, :12].copy())
    brighten(planes, gain)
    order = np.argsort(luma, axis=None, kind="stable")
    assert (np.diff(planes.y.reshape(-1)[order].astype(int)) >= 0).all()
    assert (planes.y[luma >= 16] >= luma[luma >= 16]).all()


@pytest.mark.parametrize("tiles", [0, 1])
def test_what_is_dim_is_found_at_night_and_not_in_daylight(tmp_path: Path, tiles: int) -> None:
    """The made model takes what is green enough for a face; a tile does not make day of a dark corner."""
    write_bundle(tmp_path / "spot", BRIGHTENED, {"model.onnx": spot_model()})
    with load_detector(config(tmp_path, tiles_per_frame=tiles)) as detector:
        night = scene(1280, 720, (900, 500, 40), colour=(0, 25, 0))
        day = night.copy()
        day[:100] = 200
        faces = [
            [
                each
                for _ in range(12)
                for each in detector.detect(frame(rgb)).detections
                if each.score > 0.5 and each.box.y0 > 400
            ]
            for rgb in (night, day)
        ]
    assert faces[0]
    assert not faces[1]


def test_a_bundle_that_does_not_ask_for_it_sees_pictures_as_they_are(bundles: Path) -> None:
    raw = frame(scene(1280, 720, (900, 500, 40), colour=(0, 25, 0)))
    with load_detector(config(bundles, tiles_per_frame=0)) as detector:
        assert not detector.detect(raw).detections
