"""A picture that shows nothing is told from one that does."""

from __future__ import annotations

import numpy as np
import pytest

from media import picture
from veil.capture.picture_health import PictureHealth, PictureState
from veil.domain.clock import NANOSECONDS
from veil.frames.picture import PlaneArray

STEP_NS = NANOSECONDS // 10


def scene(number: int, width: int = 320, height: int = 240) -> PlaneArray:
    return np.ascontiguousarray(picture(width, height, number)[..., 0])


def noisy(level: int, number: int, sigma: float = 1.5) -> PlaneArray:
    random = np.random.default_rng(number)
    return np.clip(random.normal(level, sigma, (240, 320)), 0, 255).astype(np.uint8)


def states(pictures: list[PlaneArray]) -> list[PictureState]:
    health = PictureHealth()
    return [health.update(y, index * STEP_NS) for index, y in enumerate(pictures)]


def test_a_still_scene_with_noise_is_well() -> None:
    base = scene(0)
    random = np.random.default_rng(0)
    pictures = [
        np.clip(base + random.normal(0, 0.5, base.shape), 0, 255).astype(np.uint8) for _ in range(200)
    ]
    assert set(states(pictures)) == {PictureState.OK}


def test_the_same_picture_again_and_again_is_frozen() -> None:
    seen = states([scene(0)] * 120)
    assert seen[99] is PictureState.OK
    assert seen[101:] == [PictureState.FROZEN] * 19


def test_a_frozen_picture_that_moves_again_is_well() -> None:
    assert states([scene(0)] * 120 + [scene(9)])[-1] is PictureState.OK


@pytest.mark.parametrize("level", [0, 16, 24])
def test_black_is_black_at_once(level: int) -> None:
    assert set(states([noisy(level, n) for n in range(3)])) == {PictureState.BLACK}


def test_a_dark_scene_with_a_lamp_is_well() -> None:
    pictures = [noisy(20, n) for n in range(50)]
    for y in pictures:
        y[100:140, 100:160] = 200
    assert set(states(pictures)) == {PictureState.OK}


@pytest.mark.parametrize("level", [60, 128, 230])
def test_something_even_before_the_lens_is_covered_after_a_while(level: int) -> None:
    seen = states([scene(0), *(noisy(level, n) for n in range(60))])
    assert PictureState.COVERED not in seen[:19]
    assert set(seen[22:]) == {PictureState.COVERED}


def test_a_change_of_size_starts_anew() -> None:
    health = PictureHealth()
    health.update(scene(0), 0)
    assert health.update(scene(0, 640, 360), 60 * NANOSECONDS) is PictureState.OK


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 16), (47, 49), (3840, 2160)])
def test_all_sizes_are_taken(width: int, height: int) -> None:
    assert PictureHealth().update(np.full((height, width), 100, np.uint8), 0) is PictureState.OK
