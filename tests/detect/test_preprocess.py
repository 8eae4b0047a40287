"""What the model sees is the picture: in place, in proportion, in colour, and nothing of the last frame."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from veil.detect.preprocess import Preprocessor
from veil.detect.runtime import TensorSpec
from veil.detect.view import InputLimit, View, tile_view, whole_view
from veil.errors import ConfigError
from veil.frames.picture import ColorInfo, Planes
from veil.frames.pool import SlotPool
from veil.frames.still import i420

LIMIT = InputLimit(640, 384, 32, dynamic=True)
FIXED = InputLimit(640, 384, 32, dynamic=False)
RGB8 = TensorSpec("nchw", "uint8", "rgb")
VIDEO = ColorInfo()
even = st.integers(8, 2000).map(lambda side: side // 2 * 2)


def smooth(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """[height, width, 3] RGB without detail that scaling or 4:2:0 would take away."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def fill(
    planes: Planes, view: View, spec: TensorSpec = RGB8, color: ColorInfo = VIDEO
) -> NDArray[np.generic]:
    return Preprocessor(view, spec).fill(planes, color, view, 1.0)


@pytest.mark.parametrize(
    ("width", "height"),
    [(1920, 1080), (1280, 720), (640, 480), (3840, 2160), (320, 240), (1080, 1920), (704, 576), (400, 1400)],
)
def test_the_whole_frame_lies_scaled_at_the_top_left(width: int, height: int) -> None:
    rgb = smooth(width, height)
    view = whole_view(width, height, FIXED)
    tensor = fill(i420(rgb), view)
    assert tensor.shape == (1, 3, 384, 640)
    wanted = cv2.resize(rgb, (view.content_width, view.content_height), interpolation=cv2.INTER_AREA)
    got = tensor[0, :, : view.content_height, : view.content_width].transpose(1, 2, 0)
    assert np.abs(got.astype(int) - wanted).mean() < 2.5
    assert not tensor[0, :, view.content_height :].any()
    assert not tensor[0, :, :, view.content_width :].any()


@given(even, even, st.booleans())
def test_the_aspect_is_kept_and_the_input_filled(width: int, height: int, dynamic: bool) -> None:
    limit = InputLimit(640, 384, 32, dynamic=dynamic)
    view = whole_view(width, height, limit)
    assert view.content_width <= view.input_width <= 640
    assert view.content_height <= view.input_height <= 640
    assert view.content_width % 2 == view.content_height % 2 == 0
    assert view.input_width % 32 == view.input_height % 32 == 0
    scale = view.content_width / width, view.content_height / height
    exact = min(scale)
    assert abs(view.content_width - width * exact) <= 2 + width * 2 / max(height, 1)
    if dynamic:
        assert view.input_width - view.content_width < 32
        assert view.input_height - view.content_height < 32
    else:
        assert (view.input_width, view.input_height) == (640, 384)


@given(even, even, st.floats(0, 1), st.floats(0, 1))
def test_boxes_come_back_to_where_they_are_in_the_frame(
    width: int, height: int, share_x: float, share_y: float
) -> None:
    view = whole_view(width, height, LIMIT)
    x, y = share_x * view.content_width, share_y * view.content_height
    box = view.to_frame(np.array([[0, 0, x, y]], np.float32))[0]
    assert box == pytest.approx([0, 0, share_x * width, share_y * height], abs=1e-2)


def test_upright_frames_turn_a_dynamic_input() -> None:
    view = whole_view(1080, 1920, LIMIT)
    assert (view.input_width, view.input_height) == (384, 640)
    assert whole_view(1080, 1920, FIXED).input_width == 640


def test_an_input_that_does_not_fit_the_model_is_refused_with_one_that_does() -> None:
    with pytest.raises(ConfigError) as refused:
        InputLimit(641, 380, 32, dynamic=True)
    assert "672x384" in refused.value.hint


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 640), st.integers(0, 348))
def test_a_tile_is_its_part_of_the_frame_pixel_by_pixel(half_x: int, half_y: int) -> None:
    rgb = smooth(1920, 1080)
    view = tile_view(2 * half_x, 2 * half_y, 640, 384, LIMIT)
    planes = i420(rgb)
    whole = cv2.cvtColor(
        np.concatenate([plane.reshape(-1) for plane in planes]).reshape(1620, 1920), cv2.COLOR_YUV2RGB_I420
    )
    tensor = fill(planes, view)
    assert np.array_equal(tensor[0].transpose(1, 2, 0), whole[view.y : view.y + 384, view.x : view.x + 640])


def test_slots_with_padded_lines_read_as_their_pixels() -> None:
    pool = SlotPool(854, 480, 1)
    slot = pool.acquire(1.0)
    assert slot is not None
    assert slot.planes.y.strides[0] > 854
    plain = i420(smooth(854, 480))
    for target, source in zip(slot.planes, plain, strict=True):
        target[...] = source
    view = whole_view(854, 480, LIMIT)
    assert np.array_equal(fill(slot.planes, view), fill(plain, view))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_nothing_of_the_last_frame_stays(layout: Literal["nchw", "nhwc"]) -> None:
    for dtype in ("uint8", "float32"):
        spec = TensorSpec(layout, dtype, "rgb")
        view = whole_view(1920, 1080, LIMIT)
        first, second = i420(smooth(1920, 1080, 1)), i420(smooth(1920, 1080, 2))
        used = Preprocessor(view, spec)
        used.fill(first, VIDEO, view, 1.0)
        again = used.fill(second, VIDEO, view, 1.0)
        assert np.array_equal(again, fill(second, view, spec))
        assert not np.array_equal(again, fill(first, view, spec))


def test_each_tensor_holds_the_same_pixels_in_its_own_way() -> None:
    planes, view = i420(smooth(640, 360)), whole_view(640, 360, FIXED)
    base = fill(planes, view)[0].astype(np.float64)
    bgr = fill(planes, view, TensorSpec("nchw", "uint8", "bgr"))
    assert np.array_equal(bgr[0, ::-1], base)
    mean, scale = (10.0, 20.0, 30.0), 0.5
    normal = (base - np.array(mean)[:, None, None]) * scale
    assert np.array_equal(fill(planes, view, TensorSpec("nchw", "float32", "rgb", mean, scale))[0], normal)
    last = fill(planes, view, TensorSpec("nhwc", "float32", "rgb", mean, scale))
    assert np.array_equal(last[0].transpose(2, 0, 1), normal)
    assert np.array_equal(fill(planes, view, TensorSpec("nhwc", "uint8", "rgb"))[0].transpose(2, 0, 1), base)
    signed = fill(planes, view, TensorSpec("nhwc", "int8", "rgb"))
    assert np.array_equal(signed[0].transpose(2, 0, 1), base - 128)


def test_full_and_video_levels_of_one_picture_look_the_same() -> None:
    rgb = smooth(640, 360)
    video = i420(rgb)
    full = Planes(
        *(
            np.clip((plane.astype(float) - low) * 255 / span + high, 0, 255).round().astype(np.uint8)
            for plane, low, span, high in zip(
                video, (16, 128, 128), (219, 224, 224), (0, 128, 128), strict=True
            )
        )
    )
    view = whole_view(640, 360, LIMIT)
    seen = fill(full, view, color=ColorInfo(full_range=True)).astype(int)
    assert np.abs(seen - fill(video, view).astype(int)).mean() < 1.5
    assert np.abs(fill(full, view).astype(int) - fill(video, view).astype(int)).mean() > 4


def test_scaling_averages_instead_of_picking_pixels() -> None:
    planes = i420(np.zeros((1080, 1920, 3), np.uint8))
    stripes = np.zeros((1080, 1920), np.uint8)
    stripes[:, 1::3] = 255  # what a linear resize to a third would see as white
    tensor = fill(Planes(stripes, planes.u, planes.v), whole_view(1920, 1080, LIMIT))
    assert 40 < tensor[0, 1, :360].mean() < 130


def test_a_frame_allocates_nothing_of_the_size_of_a_picture() -> None:
    planes, view = i420(smooth(1920, 1080)), whole_view(1920, 1080, LIMIT)
    preprocessor = Preprocessor(view, RGB8)
    preprocessor.fill(planes, VIDEO, view)
    tracemalloc.start()
    preprocessor.fill(planes, VIDEO, view)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000


def test_the_slot_is_read_only_to_the_detector() -> None:
    planes, view = i420(smooth(642, 362)), whole_view(642, 362, LIMIT)
    before = [plane.copy() for plane in planes]
    for plane in planes:
        plane.flags.writeable = False
    fill(planes, view, color=ColorInfo(full_range=True))
    assert all(np.array_equal(old, new) for old, new in zip(before, planes, strict=True))
