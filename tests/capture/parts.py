"""What the tests of capture share: pools, an observer that counts, frames copied out of their slots."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice

from veil.capture.source import DropReason, Source
from veil.errors import VeilError
from veil.frames.picture import FrameInfo, PlaneArray
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame


class Pools:
    """A pool of `slots` for each size asked for."""

    def __init__(self, slots: int = 4) -> None:
        self.made: dict[tuple[int, int], SlotPool] = {}
        self._slots = slots

    def pool(self, width: int, height: int, frame_rate: float) -> SlotPool:
        assert 0 < frame_rate <= 240
        if (width, height) not in self.made:
            self.made[(width, height)] = SlotPool(width, height, self._slots)
        return self.made[(width, height)]


class Watcher:
    """Remembers what a source told."""

    def __init__(self) -> None:
        self.drops: Counter[DropReason] = Counter()
        self.sizes: list[tuple[int, int]] = []
        self.errors: list[tuple[VeilError, float]] = []

    def connected(self, width: int, height: int, frame_rate: float) -> None:
        assert frame_rate > 0
        self.sizes.append((width, height))

    def disconnected(self, error: VeilError, retry_in_s: float) -> None:
        self.errors.append((error, retry_in_s))

    def dropped(self, reason: DropReason) -> None:
        self.drops[reason] += 1


@dataclass(frozen=True)
class Kept:
    """A frame's values after its slot went back. `luma` is the visible part of `y`."""

    info: FrameInfo
    y: PlaneArray
    u: PlaneArray
    v: PlaneArray

    @property
    def luma(self) -> PlaneArray:
        return self.y[: self.info.height, : self.info.width]


def keep(raw: RawFrame) -> Kept:
    with raw:
        y, u, v = raw.planes
        return Kept(raw.info, y.copy(), u.copy(), v.copy())


def collect(source: Source, count: int | None = None) -> list[Kept]:
    """All frames, or the first `count`."""
    return [keep(raw) for raw in islice(source.frames(), count)]
