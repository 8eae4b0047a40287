"""Tiles: all of the frame, all in turn, none forgotten however slow the machine is."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veil.detect.schedule import SLOWEST_RATE, TileSchedule, affordable_tiles, snug
from veil.errors import ConfigError

even = st.integers(8, 1200).map(lambda half: 2 * half)
rate = st.integers(1, 20)


def _schedule(width: int, height: int, most: int, overlap: int = 64) -> TileSchedule:
    return TileSchedule(width, height, 640, 384, overlap, most)


@given(even, even, st.sampled_from([0, 32, 64, 128]))
def test_tiles_cover_the_frame_with_the_overlap(width: int, height: int, overlap: int) -> None:
    tiles = _schedule(width, height, 1, overlap).tiles
    if width <= 640 and height <= 384:
        assert tiles == ()
        return
    seen = np.zeros((height // 2, width // 2), bool)
    for tile in tiles:
        assert tile.x0 % 2 == tile.y0 % 2 == 0
        assert 0 <= tile.x0 < tile.x1 <= width
        assert 0 <= tile.y0 < tile.y1 <= height
        assert tile.x1 - tile.x0 == min(640, width)
        assert tile.y1 - tile.y0 == min(384, height)
        seen[tile.y0 // 2 : tile.y1 // 2, tile.x0 // 2 : tile.x1 // 2] = True
    assert seen.all()
    for starts, side in (({t.x0 for t in tiles}, 640), ({t.y0 for t in tiles}, 384)):
        ordered = sorted(starts)
        assert all(b - a <= side - overlap for a, b in pairwise(ordered))


@given(even, even, rate, st.integers(0, 50))
def test_every_tile_comes_within_one_sweep_from_any_moment(
    width: int, height: int, most: int, before: int
) -> None:
    schedule = _schedule(width, height, most)
    for _ in range(before):
        schedule.next(math.inf)
    sweep = math.ceil(len(schedule.tiles) / most)
    assert schedule.sweep_frames == sweep
    seen = [tile.index for _ in range(sweep) for tile in schedule.next(math.inf)]
    assert set(seen) == {tile.index for tile in schedule.tiles}


@given(even, even, rate, st.data())
def test_no_tile_starves_under_any_load(width: int, height: int, most: int, data: st.DataObject) -> None:
    schedule = _schedule(width, height, most)
    patience = math.ceil(len(schedule.tiles) / min(SLOWEST_RATE, most)) + 1
    loads = data.draw(st.lists(st.floats(-10, 40) | st.just(0.0), min_size=1, max_size=30))
    last = dict.fromkeys((tile.index for tile in schedule.tiles), 0)
    for frame in range(1, 2 * patience):
        chosen = schedule.next(loads[frame % len(loads)])
        assert len(chosen) <= most
        assert len({tile.index for tile in chosen}) == len(chosen)
        for tile in chosen:
            last[tile.index] = frame
        assert all(frame - seen <= patience for seen in last.values())


def test_without_time_a_frame_gets_no_tile_and_shares_add_up() -> None:
    slow = _schedule(1920, 1080, 4)
    assert [len(slow.next(0.0)) for _ in range(16)] == [0, 0, 0, 0, 0, 0, 0, 1] * 2
    half = _schedule(1920, 1080, 4)
    assert [len(half.next(0.5)) for _ in range(4)] == [0, 1, 0, 1]


def test_time_that_was_left_over_is_not_hoarded() -> None:
    schedule = _schedule(1920, 1080, 2)
    for _ in range(100):
        schedule.next(1.9)
    assert len(schedule.next(100.0)) <= 2


def test_no_tiles_when_none_are_asked_for_or_none_would_see_more() -> None:
    assert _schedule(1920, 1080, 0).next(math.inf) == ()
    assert _schedule(640, 384, 4).next(math.inf) == ()
    assert _schedule(640, 384, 4).sweep_frames == 0


def test_more_tiles_a_frame_than_there_are_look_at_each_once() -> None:
    schedule = _schedule(1280, 720, 64)
    assert len(schedule.next(math.inf)) == len(schedule.tiles)


def test_1080p_takes_sixteen_tiles() -> None:
    assert len(_schedule(1920, 1080, 1).tiles) == 16


@given(even, even, st.sampled_from([0, 32, 64, 128]))
def test_snug_tiles_are_no_more_than_full_ones_and_share_the_overlap(
    width: int, height: int, overlap: int
) -> None:
    tile_w, tile_h = snug(width, 640, overlap, 32), snug(height, 384, overlap, 32)
    full = TileSchedule(width, height, 640, 384, overlap, 1)
    tight = TileSchedule(width, height, tile_w, tile_h, overlap, 1)
    assert tile_w <= 640
    assert tile_h <= 384
    assert tile_w % 32 == tile_h % 32 == 0
    if width > 640 or height > 384:
        assert len(tight.tiles) == len(full.tiles)
    for starts, side in (({t.x0 for t in tight.tiles}, tile_w), ({t.y0 for t in tight.tiles}, tile_h)):
        assert all(b - a <= side - overlap for a, b in pairwise(sorted(starts)))


def test_1080p_is_covered_by_as_many_tiles_of_less_area() -> None:
    assert (snug(1920, 640, 64, 32), snug(1080, 384, 64, 32)) == (544, 320)


def test_an_overlap_as_large_as_a_tile_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlap"):
        TileSchedule(1920, 1080, 320, 160, 160, 1)


@given(st.floats(1, 1000), st.floats(0, 1000))
def test_the_budget_holds_the_whole_frame_and_what_is_affordable(budget: float, look: float) -> None:
    count = affordable_tiles(budget, look)
    assert count >= 0
    if 0 < count < math.inf:
        assert (1 + count) * look == pytest.approx(budget)
