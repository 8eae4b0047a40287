"""Pairs of inputs that differ only below masks: random boxes, sizes and zones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from media import Image
from veil.config import MaskConfig, PolicyConfig, ZoneConfig
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.frames.pool import even
from veil.mask.painter import painted_cells
from veil.mask.policy import MaskPolicy
from veil.mask.targets import Target

Planes = tuple[Image, Image, Image]


@dataclass(frozen=True)
class World:
    """One case: a picture size, a box for each frame, and perhaps a zone."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    config: MaskConfig
    seed: int

    def policy(self) -> MaskPolicy:
        return MaskPolicy(self.config, self.width, self.height)

    def targets(self, index: int) -> tuple[Target, ...]:
        return (Target(ObjectClass.FACE, self.boxes[index], 0.9, 1),)


def random_world(seed: int, frames: int, least: float = 4.0) -> World:
    """Odd and even sizes; boxes of any size and place, many over an edge; in each third case a zone.

    Args:
        least: side of the smallest box, in pixels.
    """
    chance = np.random.default_rng(seed)
    width, height = int(chance.integers(64, 200)), int(chance.integers(48, 160))
    size = chance.uniform(least, 60, 2)
    at = chance.uniform((-size[0] * 0.7, -size[1] * 0.7), (width - size[0] * 0.3, height - size[1] * 0.3))
    speed = chance.uniform(-4, 4, 2)
    boxes = tuple(
        Box(
            float(at[0] + speed[0] * index),
            float(at[1] + speed[1] * index),
            float(at[0] + speed[0] * index + size[0]),
            float(at[1] + speed[1] * index + size[1]),
        )
        for index in range(frames)
    )
    zones: tuple[ZoneConfig, ...] = ()
    if seed % 3 == 0:
        x, y = chance.uniform(0.1, 0.6, 2)
        zones = (
            ZoneConfig(
                name="zone",
                points=((x, y), (x + 0.35, y + 0.05), (x + 0.2, y + 0.33)),
                policy=PolicyConfig(operator="solid"),
            ),
        )
    margin = float(chance.uniform(0, 0.3))
    config = MaskConfig(face=PolicyConfig(margin=margin), zones=zones, lookback_s=0.0)
    return World(width, height, boxes, config, seed)


def plain_planes(world: World, index: int) -> Planes:
    """A picture of noise on a gradient, padded to even as capture does."""
    chance = np.random.default_rng((world.seed, index))
    height, width = even(world.height), even(world.width)
    luma = (np.linspace(30, 220, width)[None, :] + chance.integers(-25, 26, (height, width))).astype(np.uint8)
    chroma = [chance.integers(90, 160, (height // 2, width // 2)).astype(np.uint8) for _ in range(2)]
    return luma, chroma[0], chroma[1]


Cells = np.ndarray[tuple[int, int], np.dtype[np.bool_]]


def hidden_cells(world: World, index: int) -> Cells:
    """The chroma cells below the masks, and in any case all that the object itself touches."""
    shape = (even(world.height) // 2, even(world.width) // 2)
    cells = painted_cells(world.policy().regions(world.targets(index)), shape)
    box = world.boxes[index]
    rows = slice(max(0, math.floor(box.y0 / 2)), max(0, math.ceil(box.y1 / 2)))
    columns = slice(max(0, math.floor(box.x0 / 2)), max(0, math.ceil(box.x1 / 2)))
    cells[rows, columns] = True
    return cells


def other_below(planes: Planes, cells: Cells, seed: int) -> Planes:
    """The same picture with other pixels below `cells` (one per chroma sample)."""
    chance = np.random.default_rng((seed, 99))
    pixels = cells.repeat(2, axis=0).repeat(2, axis=1)
    changed = []
    for plane, where in zip(planes, (pixels, cells, cells), strict=True):
        noise = chance.integers(0, 256, plane.shape, np.uint8)
        changed.append(np.where(where, noise, plane).astype(np.uint8))
    return changed[0], changed[1], changed[2]
