"""Golden pictures that may be shipped: a public-domain portrait and what is rendered around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from veil_models.pack import Pixels


@dataclass(frozen=True, slots=True)
class Golden:
    """A picture and what must be found in it: (category, x, y, w, h) in pixels."""

    name: str
    rgb: Pixels
    expected: tuple[tuple[str, float, float, float, float], ...]


FACE_IN_PORTRAIT = (176.0, 80.0, 92.0, 112.0)
"""The face in scikit-image's `astronaut` (NASA, public domain), x, y, w, h, drawn by hand."""


def astronaut() -> Pixels:
    """The portrait, [512, 512, 3] RGB."""
    import skimage.data

    load: Callable[[], object] = skimage.data.astronaut
    return np.asarray(load(), np.uint8)


def plate(text: str, width: int) -> Pixels:
    """A rendered licence plate of EU proportions, `width` pixels wide."""
    height = round(width / 4.6)
    large = np.full((113, 520, 3), 235, np.uint8)
    cv2.rectangle(large, (2, 2), (517, 110), (20, 20, 20), 4)
    large[4:109, 4:44] = (20, 50, 160)
    cv2.putText(large, text, (58, 86), cv2.FONT_HERSHEY_DUPLEX, 2.6, (15, 15, 15), 7, cv2.LINE_AA)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def street(seed: int, width: int = 960, height: int = 576) -> Golden:
    """A rendered street: portraits of several sizes, and the backs of two cars with plates."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(190, 90, height)[:, None, None]
    picture = np.repeat(np.repeat(ramp.astype(np.uint8), width, 1), 3, 2)
    expected: list[tuple[str, float, float, float, float]] = []
    portrait = astronaut()
    x = 20
    for size in (260, 150, 90):
        top = 20 + int(rng.integers(0, 40))
        part = cv2.resize(portrait, (size, size), interpolation=cv2.INTER_AREA)
        picture[top : top + size, x : x + size] = part
        fx, fy, fw, fh = (v * size / 512 for v in FACE_IN_PORTRAIT)
        expected.append(("face", x + fx, top + fy, fw, fh))
        x += size + 40
    for left, scale, text, paint in (
        (60, 1.0, "VE 1L 042", (150, 30, 30)),
        (560, 1.25, "B EI 2026", (40, 60, 110)),
    ):
        expected.append(_car(picture, left, height - 30, scale, text, paint))
    return Golden(f"street-{seed}.png", picture, tuple(expected))


def _car(
    picture: Pixels, left: int, bottom: int, scale: float, text: str, paint: tuple[int, int, int]
) -> tuple[str, float, float, float, float]:
    """Paint the back of a car standing on `bottom`; returns its plate."""

    def box(x0: float, y0: float, x1: float, y1: float, colour: tuple[int, int, int]) -> None:
        a = (int(left + x0 * scale), int(bottom - y1 * scale))
        b = (int(left + x1 * scale), int(bottom - y0 * scale))
        cv2.rectangle(picture, a, b, colour, -1)

    box(20, 0, 60, 40, (25, 25, 25))
    box(220, 0, 260, 40, (25, 25, 25))
    box(0, 20, 280, 130, paint)
    box(35, 125, 245, 200, paint)
    box(50, 135, 230, 190, (45, 55, 65))
    box(8, 80, 48, 115, (200, 20, 20))
    box(232, 80, 272, 115, (200, 20, 20))
    rendered = plate(text, round(96 * scale))
    h, w = rendered.shape[:2]
    x, y = int(left + 92 * scale), int(bottom - 72 * scale)
    picture[y : y + h, x : x + w] = rendered
    return ("plate", float(x), float(y), float(w), float(h))


def portrait() -> Golden:
    """The portrait alone."""
    return Golden("astronaut.png", astronaut(), (("face", *FACE_IN_PORTRAIT),))


def all_golden() -> list[Golden]:
    """Every golden picture."""
    return [portrait(), street(1), street(2)]
