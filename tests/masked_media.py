"""Masked frames for tests of encoders and sinks: slots filled with a moving pattern, covered by nothing."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from veil.config import EncoderConfig
from veil.domain.clock import SystemClock
from veil.domain.cover import Reason, Regions, WholeFrame
from veil.encode.encoder import Encoder
from veil.encode.packet import MaskedPacket
from veil.frames.masked import MaskedFrame
from veil.frames.picture import ColorInfo, FrameInfo, Planes
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.mask.masker import Masker

MILLISECONDS = Fraction(1, 1000)


def draw(planes: Planes, index: int) -> None:
    """A gradient with a bright square that moves: each index gives another picture."""
    height, width = planes.y.shape
    planes.y[...] = np.linspace(40, 200, width, dtype=np.uint8)[None, :]
    planes.u[...] = 110
    planes.v[...] = 140
    size = min(height, width) // 4
    left, top = (index * 7) % (width - size), (index * 3) % (height - size)
    planes.y[top : top + size, left : left + size] = 230


class Camera:
    """Makes masked frames of one size, `frame_rate` apart, in one time base."""

    def __init__(
        self,
        width: int = 320,
        height: int = 180,
        *,
        frame_rate: float = 30.0,
        time_base: Fraction = Fraction(1, 90000),
        epoch: int = 0,
        color: ColorInfo | None = None,
    ) -> None:
        self.width, self.height, self.frame_rate = width, height, frame_rate
        self.time_base, self.epoch, self.color = time_base, epoch, color or ColorInfo()
        self.pool = SlotPool(width, height, 4)
        self.clock = SystemClock()
        self.sequence = 0
        self.first_pts = 0

    def info(self, pts: int | None = None) -> FrameInfo:
        index = self.sequence
        at = self.first_pts + round(index / self.frame_rate / self.time_base) if pts is None else pts
        return FrameInfo(
            sequence=index,
            pts=at,
            time_base=self.time_base,
            epoch=self.epoch,
            captured_ns=self.clock.monotonic_ns(),
            width=self.width,
            height=self.height,
            color=self.color,
        )

    def frame(self, *, pts: int | None = None, whole: Reason | None = None) -> MaskedFrame:
        slot = self.pool.acquire(1.0)
        assert slot is not None
        info = self.info(pts)
        draw(slot.planes, self.sequence)
        self.sequence += 1
        cover = Regions(info.sequence, ("test",), ()) if whole is None else WholeFrame(info.sequence, whole)
        return Masker().mask(RawFrame(info, slot, self.pool), cover)

    def encoder(self, config: EncoderConfig | None = None) -> Encoder:
        return Encoder(
            config or EncoderConfig(preset="ultrafast", bit_rate=500_000, keyframe_interval_s=1.0),
            width=self.pool.width,
            height=self.pool.height,
            time_base=self.time_base,
            frame_rate=self.frame_rate,
            color=self.color,
            epoch=self.epoch,
            clock=self.clock,
        )

    def packets(self, count: int, config: EncoderConfig | None = None) -> Iterator[MaskedPacket]:
        """`count` frames through an encoder of their own."""
        with self.encoder(config) as encoder:
            for _ in range(count):
                with self.frame() as frame:
                    yield from encoder.encode(frame)
