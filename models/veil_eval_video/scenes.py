"""What stands behind: pictures in which nobody marked a person, or a rendered street."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from veil_eval_video.cutouts import Pixels, in_turns, open_rgb
from veil_models.dataset import Picture

PAN = 1.12
"""How much larger than the frame a background is, for the camera's own motion."""
LARGEST_PLATE = 0.12
"""Share of the picture's width that a plate of a background may have had."""

DARKEST = 70
"""Grey level, as median, from which a picture is a day's: night comes with `degrade`, for actors as well."""


def backgrounds(pictures: Sequence[Picture], width: int, height: int, most: int, seed: int) -> list[Pixels]:
    """Up to `most` pictures without any face or head, even a doubtful one; their plates are painted over.

    Only of sets in which people marked all plates. [H, W, 3] RGB of `width` x `height` times PAN.
    """
    found: list[Pixels] = []
    for picture in in_turns(pictures, seed):
        if len(found) >= most:
            break
        if "plate" in picture.labelled and picture.width >= 480 and _is_street(picture):
            rgb = _without_plates(picture)
            if np.median(rgb) >= DARKEST:
                found.append(_filling(rgb, width, height))
    return found


def _is_street(picture: Picture) -> bool:
    """Whether there are only plates, and those small: cars at some distance."""
    return bool(picture.labels) and all(
        label.category == "plate" and label.w < LARGEST_PLATE * picture.width for label in picture.labels
    )


def _without_plates(picture: Picture) -> Pixels:
    rgb = open_rgb(picture.path)
    scale = rgb.shape[1] / picture.width
    hole = np.zeros(rgb.shape[:2], np.uint8)
    for label in picture.labels:
        grow = 0.15 * label.w
        low = (int((label.x - grow) * scale), int((label.y - grow) * scale))
        high = (int((label.x + label.w + grow) * scale), int((label.y + label.h + grow) * scale))
        cv2.rectangle(hole, low, high, 255, -1)
    return np.asarray(cv2.inpaint(np.ascontiguousarray(rgb), hole, 3, cv2.INPAINT_TELEA), np.uint8)


def _filling(rgb: Pixels, width: int, height: int) -> Pixels:
    want = (round(width * PAN), round(height * PAN))
    scale = max(want[0] / rgb.shape[1], want[1] / rgb.shape[0])
    size = (max(want[0], round(rgb.shape[1] * scale)), max(want[1], round(rgb.shape[0] * scale)))
    large = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    x, y = (size[0] - want[0]) // 2, (size[1] - want[1]) // 2
    return np.ascontiguousarray(large[y : y + want[1], x : x + want[0]])


def street(width: int, height: int, seed: int) -> Pixels:
    """A rendered street without anybody, as large as `backgrounds` are."""
    random = np.random.default_rng(seed)
    width, height = round(width * PAN), round(height * PAN)
    picture = np.empty((height, width, 3), np.uint8)
    horizon = int(height * 0.5)
    sky = np.linspace(225, 170, horizon)[:, None, None] * np.array([0.86, 0.94, 1.0])
    picture[:horizon] = sky.astype(np.uint8)
    picture[horizon:] = np.linspace(80, 130, height - horizon)[:, None, None].astype(np.uint8)
    left = 0
    while left < width:
        wide = int(random.integers(70, 220))
        top = int(random.integers(20, horizon - 40))
        colour = tuple(int(c) for c in random.integers(80, 190, 3))
        cv2.rectangle(picture, (left, top), (left + wide - 6, horizon + 10), colour, -1)
        for y in range(top + 14, horizon - 24, 36):
            for x in range(left + 12, left + wide - 30, 32):
                glass = int(random.integers(60, 220))
                cv2.rectangle(picture, (x, y), (x + 16, y + 22), (glass, glass, min(255, glass + 15)), -1)
        left += wide
    for x in range(0, width, 170):
        cv2.rectangle(picture, (x, int(height * 0.8)), (x + 80, int(height * 0.81)), (225, 225, 220), -1)
    grain = cv2.GaussianBlur(random.normal(0, 14, picture.shape).astype(np.float32), (0, 0), 1.5)
    return np.asarray(np.clip(picture + grain, 0, 255), np.uint8)
