"""Rendered licence plates of several countries' looks, on a piece of a car."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil_eval_video.cutouts import Cutout, Pixels, cut

LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_WIDTH = 320


@dataclass(frozen=True, slots=True)
class _Look:
    """Proportions and colours of one kind of plate; `band` is a coloured strip (left or top) or none."""

    ratio: float
    paper: tuple[int, int, int]
    ink: tuple[int, int, int]
    pattern: str
    band: str


_LOOKS = (
    _Look(4.6, (238, 238, 236), (20, 20, 22), "LL LL 999", "left"),
    _Look(2.0, (236, 236, 240), (30, 40, 110), "LLL9999", "top"),
    _Look(3.1, (240, 240, 240), (15, 15, 15), "LLL9L99", "top"),
    _Look(4.6, (226, 190, 40), (20, 20, 20), "LL99 LLL", "none"),
    _Look(2.0, (244, 232, 190), (130, 25, 30), "9LLL999", "none"),
)
_BAND = (25, 60, 160)


def rendered_plate(seed: int) -> Cutout:
    """A plate of a random look and text, a little turned, on painted metal."""
    random = np.random.default_rng(seed)
    look = _LOOKS[int(random.integers(len(_LOOKS)))]
    plate = _face_of(look, random)
    height, width = plate.shape[:2]
    paint = random.integers(45, 215, 3)
    shade = np.linspace(1.1, 0.75, height * 5)[:, None, None]
    metal = np.clip(paint * shade * np.ones((1, width * 2 + 80, 1)), 30, 255).astype(np.uint8)
    left, top = (metal.shape[1] - width) // 2, height * 2
    recess = (left - 12, top - 12), (left + width + 12, top + height + 12)
    cv2.rectangle(metal, *recess, tuple(int(c * 0.6) for c in paint), -1)
    corners = np.array(
        [(left, top), (left + width, top), (left + width, top + height), (left, top + height)], np.float32
    )
    turned = corners + random.normal(0, 0.012 * width, (4, 2)).astype(np.float32)
    turned[:, 1] += (turned[:, 0] - metal.shape[1] / 2) * np.tan(np.radians(random.uniform(-5, 5)))
    source = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(source, turned.astype(np.float32))
    size = (metal.shape[1], metal.shape[0])
    drawn = cv2.warpPerspective(plate, matrix, size, flags=cv2.INTER_AREA)
    where = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, size)
    metal[where > 127] = drawn[where > 127]
    low, high = turned.min(axis=0), turned.max(axis=0)
    found = cut(metal, Box(*low.tolist(), *high.tolist()), ObjectClass.PLATE)
    if found is None:
        raise ValueError("the metal is too small for its plate")
    return found


def _face_of(look: _Look, random: np.random.Generator) -> Pixels:
    width, height = _WIDTH, round(_WIDTH / look.ratio)
    face = np.empty((height, width, 3), np.uint8)
    face[:] = look.paper
    text = "".join(
        LETTERS[random.integers(len(LETTERS))] if c == "L" else str(random.integers(10)) if c == "9" else c
        for c in look.pattern
    )
    x0, y0 = 10, 6
    match look.band:
        case "left":
            face[:, :28] = _BAND
            x0 = 36
        case "top":
            band = max(10, height // 6)
            face[:band] = _BAND
            y0 = band + 4
        case _:
            pass
    font, thick = cv2.FONT_HERSHEY_DUPLEX, 6
    (wide, high), _ = cv2.getTextSize(text, font, 1.0, thick)
    scale = min((width - x0 - 10) / wide, (height - y0 - 10) / high)
    (wide, high), _ = cv2.getTextSize(text, font, scale, thick)
    at = (x0 + (width - x0 - 10 - wide) // 2, y0 + (height - y0 + high) // 2 - 2)
    cv2.putText(face, text, at, font, scale, look.ink, thick, cv2.LINE_AA)
    cv2.rectangle(face, (1, 1), (width - 2, height - 2), look.ink, 3)
    return face
