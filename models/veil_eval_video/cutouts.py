"""What is pasted into clips: faces with their heads and shoulders, plates with a piece of their cars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil_models.dataset import Label, Picture

Pixels = NDArray[np.uint8]
Alpha = NDArray[np.float32]

FACE_IN_PORTRAIT = Box(176, 80, 268, 192)
"""The face in scikit-image's `astronaut` (NASA, public domain), 512x512, drawn by hand."""
SMALLEST_FACE, SMALLEST_PLATE = 48.0, 48.0
"""Pixels of width that a source must have; a cutout is not enlarged by more than `ENLARGE`."""
ENLARGE = 1.3
SURE = 0.6
"""Score from which a teacher's box is taken."""
LARGEST = 640
"""Pixels of a cutout's longer side that are kept."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A piece of a picture.

    Attributes:
        rgb: [H, W, 3]. alpha: [H, W], 0..1, soft towards the edges and 1 over `box`.
        box: the object, in pixels of the cutout.
    """

    kind: ObjectClass
    rgb: Pixels
    alpha: Alpha
    box: Box

    @property
    def widest(self) -> float:
        """Pixels of width at which the object may be shown at most."""
        return self.box.width * ENLARGE


@dataclass(frozen=True, slots=True)
class _Around:
    """How much of the picture comes along, in shares of the object's width (sides) and height."""

    sides: float
    above: float
    below: float


_AROUND = {
    ObjectClass.FACE: _Around(sides=0.8, above=0.6, below=1.0),
    ObjectClass.PLATE: _Around(sides=0.6, above=1.6, below=1.2),
}
_LEAST_MARGIN = 0.12
"""Shares of the width around the object that the picture must have, for the soft edge."""


def cut(rgb: Pixels, box: Box, kind: ObjectClass) -> Cutout | None:
    """The object with what is around it; None where the picture's edge leaves no room for a soft edge."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = _frame(box, kind, width, height)
    margin = min(box.x0 - x0, box.y0 - y0, x1 - box.x1, y1 - box.y1)
    if margin < _LEAST_MARGIN * box.width:
        return None
    part = np.ascontiguousarray(rgb[y0:y1, x0:x1])
    scale = min(1.0, LARGEST / max(part.shape[:2]))
    if scale < 1:
        size = (max(2, round(part.shape[1] * scale)), max(2, round(part.shape[0] * scale)))
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    sx, sy = part.shape[1] / (x1 - x0), part.shape[0] / (y1 - y0)
    inner = Box((box.x0 - x0) * sx, (box.y0 - y0) * sy, (box.x1 - x0) * sx, (box.y1 - y0) * sy)
    return Cutout(kind, part, _soft(part.shape[0], part.shape[1], inner), inner)


def _frame(box: Box, kind: ObjectClass, width: int, height: int) -> tuple[int, int, int, int]:
    around = _AROUND[kind]
    return (
        max(0, round(box.x0 - around.sides * box.width)),
        max(0, round(box.y0 - around.above * box.height)),
        min(width, round(box.x1 + around.sides * box.width)),
        min(height, round(box.y1 + around.below * box.height)),
    )


def _soft(height: int, width: int, inner: Box) -> Alpha:
    """1 over `inner` and soft to 0 at the edge, on each side as soft as there is room for."""
    across = np.minimum(
        (np.arange(width) + 0.5) / max(inner.x0, 1),
        (width - np.arange(width) - 0.5) / max(width - inner.x1, 1),
    )
    down = np.minimum(
        (np.arange(height) + 0.5) / max(inner.y0, 1),
        (height - np.arange(height) - 0.5) / max(height - inner.y1, 1),
    )
    # a rounded corner: both distances count
    edge = np.hypot(np.clip(1 - across, 0, 1)[None, :], np.clip(1 - down, 0, 1)[:, None])
    near = np.clip((1 - edge) * 2.0, 0, 1)
    return np.asarray(near * near * (3 - 2 * near), np.float32)


def portrait() -> Cutout:
    """The face of the public-domain portrait."""
    import skimage.data

    load: Callable[[], object] = skimage.data.astronaut
    found = cut(np.asarray(load(), np.uint8), FACE_IN_PORTRAIT, ObjectClass.FACE)
    if found is None:
        raise ValueError("the portrait is too small for its face")
    return found


def cutouts_of(pictures: Sequence[Picture], kind: ObjectClass, most: int, seed: int) -> list[Cutout]:
    """Up to `most` cutouts, one a picture; sources take turns, in an order that `seed` says.

    Taken are boxes that people drew or teachers were sure of, around which no other object of the class and
    nothing doubtful lies.
    """
    found: list[Cutout] = []
    for picture in in_turns(pictures, seed):
        if len(found) >= most:
            break
        label = next(_lonely(picture, kind), None)
        if label is None:
            continue
        rgb = open_rgb(picture.path)
        scale = rgb.shape[1] / picture.width
        cutout = cut(rgb, _scaled(_box(label), scale), kind)
        if cutout is not None:
            found.append(cutout)
    return found


def in_turns(pictures: Sequence[Picture], seed: int) -> Iterator[Picture]:
    """All pictures: one of each source, then the next one of each, so that no large set crowds out others."""
    random = np.random.default_rng(seed)
    by_source: dict[str, list[Picture]] = {}
    for index in random.permutation(len(pictures)):
        picture = pictures[int(index)]
        by_source.setdefault(picture.source, []).append(picture)
    while by_source:
        for source in sorted(by_source):
            yield by_source[source].pop()
        by_source = {source: left for source, left in by_source.items() if left}


def open_rgb(path: Path) -> Pixels:
    """[H, W, 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def _lonely(picture: Picture, kind: ObjectClass) -> Iterator[Label]:
    least = SMALLEST_FACE if kind is ObjectClass.FACE else SMALLEST_PLATE
    same = [label for label in picture.labels if label.category == kind.value]
    for label in same:
        if label.ignore or label.score < SURE or label.w < least or not _shaped(label, kind):
            continue
        x0, y0, x1, y1 = _frame(_box(label), kind, picture.width, picture.height)
        others = [_box(other) for other in same if other is not label]
        if all(other.intersection_area(Box(x0, y0, x1, y1)) == 0 for other in others):
            yield label


def _shaped(label: Label, kind: ObjectClass) -> bool:
    """Whether the box has the shape of a whole object."""
    ratio = label.w / label.h
    return 0.55 <= ratio <= 1.2 if kind is ObjectClass.FACE else 1.1 <= ratio <= 6.5


def _box(label: Label) -> Box:
    return Box(label.x, label.y, label.x + label.w, label.y + label.h)


def _scaled(box: Box, scale: float) -> Box:
    return Box(box.x0 * scale, box.y0 * scale, box.x1 * scale, box.y1 * scale)
