"""One typed dataset: pictures with partial labels, whatever format they came in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

CLASSES: tuple[str, ...] = ("face", "plate", "head")
"""Class order of every tensor in this package."""


class Origin(StrEnum):
    """Who drew a box."""

    HUMAN = "human"
    TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Label:
    """One box in a picture.

    `x`, `y`, `w`, `h` are pixels of the picture, top left corner and size. `ignore` boxes are neither object
    nor background. `score` is 1 for people and the fused confidence for teachers.
    """

    category: str
    x: float
    y: float
    w: float
    h: float
    origin: Origin = Origin.HUMAN
    ignore: bool = False
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what is known about it.

    `labelled` names the classes of which people marked every instance: only for those is the rest of the
    picture background. A class outside `labelled` says nothing but what its labels say, unless it is
    `searched`: a net of ours was asked (`veil_models.mine`), and the rest is a weak background.
    """

    path: Path
    width: int
    height: int
    source: str
    labelled: frozenset[str]
    labels: tuple[Label, ...] = field(default=())
    searched: frozenset[str] = frozenset()


Dataset = Sequence[Picture]

LONGEST = 1280
"""Longer side in pixels to which `pack` scales larger pictures: crops and looks are 320 to 1024 px, and
twelve megapixels take 36 MB."""


def size_within(width: int, height: int, longest: int) -> tuple[int, int]:
    """Width and height, scaled down where the longer side exceeds `longest`."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def within(picture: Picture, longest: int) -> Picture:
    """The picture as it is when its longer side is `longest` at most: size and labels scaled together."""
    width, height = size_within(picture.width, picture.height, longest)
    if (width, height) == (picture.width, picture.height):
        return picture
    sx, sy = width / picture.width, height / picture.height
    labels = tuple(replace(b, x=b.x * sx, y=b.y * sy, w=b.w * sx, h=b.h * sy) for b in picture.labels)
    return replace(picture, width=width, height=height, labels=labels)


VALIDATION_SOURCES: frozenset[str] = frozenset(
    {
        "maskstreet",
        "portraits",
        "indoor",
        "classroom",
        "lecture",
        "metro",
        "dashcam",
        "carplates",
        "smallplates",
    }
)
"""Human-labelled sets of which a fixed tenth is kept out of training."""


def held_out(picture: Picture, share: float = 0.1) -> bool:
    """Whether a picture of a human-labelled set of ours belongs to the validation split."""
    return picture.source in VALIDATION_SOURCES and drawn(picture, share)


def drawn(picture: Picture, share: float) -> bool:
    """Whether a picture is among a fixed `share` (0..1) of its source, by the hash of its name."""
    digest = hashlib.sha256(f"{picture.source}/{picture.path.name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32
