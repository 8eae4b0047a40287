"""Which tiles to look at next: a rotation in which each tile's turn comes, whatever the machine's load."""

from __future__ import annotations

import math
from dataclasses import dataclass

from veil.errors import ConfigError

SLOWEST_RATE = 1 / 8
"""Tiles a frame that are looked at even where there is no time for any."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of the frame in even pixels, `x1`/`y1` exclusive."""

    index: int
    x0: int
    y0: int
    x1: int
    y1: int


class TileSchedule:
    """Overlapping tiles that cover the frame, `tiles_per_frame` of them in turn each frame.

    Args:
        frame_w, frame_h: even size of the frame.
        tile_w, tile_h: size of the model's input, even. A frame that fits into it has no tiles: the whole
            frame is seen at native scale or better already.
        overlap: pixels that neighbours share at least. An object of up to this size is whole in one tile.
        tiles_per_frame: at most, 0 for none.

    Every tile is looked at within ceil(n / tiles_per_frame) frames while time allows, and within
    ceil(n / SLOWEST_RATE) frames in any case.
    """

    def __init__(
        self, frame_w: int, frame_h: int, tile_w: int, tile_h: int, overlap: int, tiles_per_frame: int
    ) -> None:
        if overlap >= min(tile_w, tile_h):
            raise ConfigError(
                f"tiles of {tile_w}x{tile_h} cannot overlap by {overlap} pixels.",
                hint="Set detector.tile_overlap to less than half of the input's height.",
            )
        self.tiles = _cover(frame_w, frame_h, tile_w, tile_h, overlap) if tiles_per_frame else ()
        self._most = min(tiles_per_frame, len(self.tiles))
        self._slowest = min(SLOWEST_RATE, self._most)
        self._next = 0
        self._credit = 0.0

    @property
    def sweep_frames(self) -> int:
        """Frames until each tile has been looked at once, while time allows; 0 without tiles."""
        return math.ceil(len(self.tiles) / self._most) if self._most else 0

    def next(self, affordable: float) -> tuple[Tile, ...]:
        """The tiles of this frame, without repetition.

        Args:
            affordable: how many tiles the time budget allows; shares of a tile are carried over.
        """
        if not self._most:
            return ()
        rate = self._most if math.isnan(affordable) else min(max(affordable, self._slowest), self._most)
        self._credit = min(self._credit + rate, float(self._most))
        # Sums of shares may end a rounding error below the whole tile they stand for.
        count = int(self._credit + 1e-9)
        self._credit = max(0.0, self._credit - count)
        chosen = tuple(self.tiles[(self._next + step) % len(self.tiles)] for step in range(count))
        self._next = (self._next + count) % len(self.tiles)
        return chosen


def affordable_tiles(budget_ms: float, look_ms: float) -> float:
    """Tiles that fit into `budget_ms` besides the whole frame, at `look_ms` each; all where unknown."""
    if look_ms <= 0:
        return math.inf
    return max(0.0, budget_ms / look_ms - 1)


def snug(frame: int, tile: int, overlap: int, multiple: int) -> int:
    """The smallest multiple of `multiple` with which tiles cover `frame` in as few steps as with `tile`.

    Evenly spread tiles share more than `overlap` where the last one is not full: looking twice there costs
    time and finds nothing new. `tile`, which is a multiple already, where the frame needs one tile alone.
    """
    if frame <= tile:
        return tile
    most = len(_spread(frame, tile, overlap))
    side = tile
    while side - multiple > overlap + 2 and len(_spread(frame, side - multiple, overlap)) <= most:
        side -= multiple
    return side


def _cover(frame_w: int, frame_h: int, tile_w: int, tile_h: int, overlap: int) -> tuple[Tile, ...]:
    if frame_w <= tile_w and frame_h <= tile_h:
        return ()
    columns = _spread(frame_w, min(tile_w, frame_w), overlap)
    rows = _spread(frame_h, min(tile_h, frame_h), overlap)
    corners = [(x, y) for y in rows for x in columns]
    return tuple(
        Tile(index, x, y, x + min(tile_w, frame_w), y + min(tile_h, frame_h))
        for index, (x, y) in enumerate(corners)
    )


def _spread(frame: int, tile: int, overlap: int) -> list[int]:
    """Even starts of as few tiles as cover `frame` with at least `overlap` shared, evenly spread."""
    room = frame - tile
    if room == 0:
        return [0]
    # Two pixels of a step go to rounding down to even.
    steps = math.ceil(room / max(2, tile - overlap - 2))
    return [room * step // steps // 2 * 2 for step in range(steps)] + [room]
