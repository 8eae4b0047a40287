"""Non-interference: what lies below solid masks changes not one byte of what leaves."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest

from interference.worlds import Planes, World, hidden_cells, other_below, plain_planes, random_world
from veil.config import EncoderConfig
from veil.domain.clock import SystemClock
from veil.domain.geometry import Box
from veil.encode.encoder import Encoder
from veil.frames.picture import FrameInfo
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.mask.masker import Masker
from veil.mask.painter import painted_cells

BOXES = int(os.environ.get("VEIL_BOXES", "100"))
FRAMES = 6
PER_TEST = 20


def encoded(world: World, pictures: list[Planes], config: EncoderConfig, *, then: int | None = None) -> bytes:
    """All bytes that leave: masked by the world's policy, encoded from slots of a pool of two.

    Args:
        then: fills each slot with this luma as soon as it is free, as the next frame of a camera does.
    """
    pool = SlotPool(world.width, world.height, 2)
    policy, masker = world.policy(), Masker()
    out = b""
    with Encoder(
        config,
        width=pool.width,
        height=pool.height,
        time_base=Fraction(1, 90_000),
        frame_rate=25.0,
        color=FrameInfo(0, 0, Fraction(1), 0, 0, 2, 2).color,
        epoch=0,
        clock=SystemClock(),
    ) as encoder:
        for index, planes in enumerate(pictures):
            slot = pool.acquire(0)
            assert slot is not None
            for target, source in zip(slot.planes, planes, strict=True):
                target[...] = source
            info = FrameInfo(index, index * 3600, Fraction(1, 90_000), 0, 0, world.width, world.height)
            cover = policy.cover(index, ("test",), world.targets(index))
            with masker.mask(RawFrame(info, slot, pool), cover) as masked:
                out += b"".join(packet.data for packet in encoder.encode(masked))
            if then is not None:
                slot.planes.y[...] = then
        out += b"".join(packet.data for packet in encoder.flush())
    return out


def pair(world: World) -> tuple[list[Planes], list[Planes], int]:
    """Two inputs that differ only below the masks, and how many chroma cells differ."""
    one, two, below = [], [], 0
    for index in range(FRAMES):
        planes = plain_planes(world, index)
        cells = hidden_cells(world, index)
        one.append(planes)
        two.append(other_below(planes, cells, index))
        below += int(cells.sum())
    return one, two, below


@pytest.mark.parametrize("first", range(0, BOXES, PER_TEST))
def test_pixels_below_solid_masks_change_no_byte(first: int) -> None:
    below = 0
    for seed in range(first, min(first + PER_TEST, BOXES)):
        world = random_world(seed, FRAMES)
        one, two, cells = pair(world)
        below += cells
        assert encoded(world, one, EncoderConfig()) == encoded(world, two, EncoderConfig()), f"seed {seed}"
    assert below > 0


def test_a_pixel_beside_the_mask_changes_bytes() -> None:
    world = random_world(1, FRAMES)
    one, _, _ = pair(world)
    two = [tuple(plane.copy() for plane in planes) for planes in one]
    cells = painted_cells(world.policy().regions(world.targets(0)), one[0][1].shape)
    row, column = (int(at[0]) for at in np.nonzero(~cells))
    two[0][0][2 * row, 2 * column] ^= 0xFF
    changed = [(y, u, v) for y, u, v in two]
    assert encoded(world, one, EncoderConfig()) != encoded(world, changed, EncoderConfig())


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 33, 21),
        Box(1, 1, 32, 20),
        Box(-40, -40, 3, 3),
        Box(96.5, 60.5, 101, 75),
        Box(100, 74, 101, 75),
        Box(-500, 30.2, 900, 33.9),
        Box(50.999, -500, 51.001, 900),
        Box(-9, -9, 200, 200),
        Box(20, 20, 20, 20),
    ],
)
def test_edges_and_odd_sizes_hide_their_last_pixel(box: Box) -> None:
    world = World(101, 75, (box,) * FRAMES, random_world(1, 1).config, 4)
    one, two, cells = pair(world)
    assert cells > 0
    assert encoded(world, one, EncoderConfig()) == encoded(world, two, EncoderConfig())


@pytest.mark.parametrize("preset", ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"])
def test_a_slot_may_be_filled_again_as_soon_as_its_frame_is_encoded(preset: str) -> None:
    config = EncoderConfig(preset=preset)  # type: ignore[arg-type]
    world = random_world(2, FRAMES)
    one, _, _ = pair(world)
    assert encoded(world, one, config) == encoded(world, one, config, then=255)
