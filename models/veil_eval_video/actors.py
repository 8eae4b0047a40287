"""Who moves through a clip, and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veil.domain.detection import ObjectClass
from veil_eval_video.cutouts import Cutout

SIZES = {ObjectClass.FACE: (12.0, 200.0), ObjectClass.PLATE: (16.0, 200.0)}
"""Least and greatest width of an object on its way, pixels."""
SPEEDS = {ObjectClass.FACE: (0.0, 3.0), ObjectClass.PLATE: (0.0, 4.0)}
"""Widths a second; a plate is wide."""
HEIGHTS = {ObjectClass.FACE: (0.18, 0.62), ObjectClass.PLATE: (0.45, 0.88)}
"""Between which shares of the frame's height centres lie."""
OVER_EDGE = 0.06
"""How far, in shares of the frame's width, objects go beyond its edge before they turn back."""


@dataclass(frozen=True, slots=True)
class Place:
    """Centre of the object and its width, pixels."""

    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Actor:
    """One object on its way.

    Attributes:
        width, growth: pixels at the start, and relative growth a second (coming nearer).
        speed: pixels a second to the right; turns back beyond the edges.
        bob: up and down, in pixels; pace: times a second.
        rests: whether it stops now and then.
    """

    track_id: int
    cutout: Cutout
    x: float
    y: float
    width: float
    growth: float
    speed: float
    bob: float
    pace: float
    rests: bool

    def at(self, time_s: float, frame_width: int) -> Place:
        """Where it is at `time_s`."""
        low, high = SIZES[self.cutout.kind]
        width = min(max(self.width * math.exp(self.growth * time_s), low), high, self.cutout.widest)
        moved = time_s
        if self.rests:
            # walks for a second, stands for one
            whole, part = divmod(time_s, 2.0)
            moved = whole + min(part, 1.0)
        room = frame_width * (1 + 2 * OVER_EDGE)
        way = (self.x + OVER_EDGE * frame_width + self.speed * moved) % (2 * room)
        x = (way if way <= room else 2 * room - way) - OVER_EDGE * frame_width
        return Place(x, self.y + self.bob * math.sin(2 * math.pi * self.pace * time_s), width)


def cast(
    faces: Sequence[Cutout], plates: Sequence[Cutout], width: int, height: int, seed: int
) -> list[Actor]:
    """Four to seven faces and three to five plates, sizes spread over the octaves; small ones first."""
    random = np.random.default_rng(seed)
    wanted = [(faces, int(random.integers(4, 8))), (plates, int(random.integers(3, 6)))]
    actors: list[Actor] = []
    for cutouts, count in wanted:
        if not cutouts:
            continue
        low, high = SIZES[cutouts[0].kind]
        for number in range(count):
            # one of each of `count` equal parts of the octaves
            share = (number + random.uniform()) / count
            size = low * (high / low) ** share
            actors.append(
                _actor(len(actors) + 1, _fitting(cutouts, size, random), size, width, height, random)
            )
    return sorted(actors, key=lambda actor: actor.width)


def _fitting(cutouts: Sequence[Cutout], size: float, random: np.random.Generator) -> Cutout:
    large = [each for each in cutouts if each.widest >= size]
    if not large:
        return max(cutouts, key=lambda each: each.widest)
    return large[int(random.integers(len(large)))]


def _actor(
    track_id: int, cutout: Cutout, size: float, width: int, height: int, random: np.random.Generator
) -> Actor:
    slow, fast = SPEEDS[cutout.kind]
    top, bottom = HEIGHTS[cutout.kind]
    size = min(size, cutout.widest)
    return Actor(
        track_id=track_id,
        cutout=cutout,
        x=float(random.uniform(0, width)),
        y=float(random.uniform(top, bottom) * height),
        width=size,
        growth=float(random.uniform(-0.25, 0.25)),
        speed=float(random.uniform(slow, fast) * size * random.choice([-1, 1])),
        bob=float(random.uniform(0, 0.12) * size),
        pace=float(random.uniform(1.4, 2.2)),
        rests=bool(random.uniform() < 0.25),
    )
