"""What all sources share: number, time and place a decoded picture as a RawFrame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction

import av

from veil.capture.copy import FrameCopier, Picture, Rotation
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.domain.clock import Clock
from veil.frames.picture import FrameInfo
from veil.frames.pool import Slot, SlotPool
from veil.frames.raw import RawFrame

_FILE_WAIT_S = 0.1

AcquireSlot = Callable[[SlotPool], Slot | None]


def take_now(pool: SlotPool) -> Slot | None:
    """For live sources: nobody may hold up a camera."""
    return pool.acquire(0)


def wait_for_slot(closed: threading.Event) -> AcquireSlot:
    """For files: waits until there is room or the source is closed."""

    def acquire(pool: SlotPool) -> Slot | None:
        while not closed.is_set():
            slot = pool.acquire(_FILE_WAIT_S)
            if slot is not None:
                return slot
        return None

    return acquire


class Timeline:
    """Media time that rises strictly within an epoch.

    Timestamps of the source pass unchanged as long as they rise. A missing or repeated one is filled with the
    last plus one nominal frame, or plus one tick where the next would be overtaken.
    """

    def __init__(self, time_base: Fraction, frame_rate: float) -> None:
        self.time_base = time_base
        self._step = max(1, round(1 / (frame_rate * time_base)))
        self._last: int | None = None

    def place(self, pts: int | None) -> int:
        if pts is None:
            pts = 0 if self._last is None else self._last + self._step
        if self._last is not None and pts <= self._last:
            pts = self._last + 1
        self._last = pts
        return pts


class LiveTimeline(Timeline):
    """As `Timeline`, for clocks that jump: a jump back goes on one nominal frame after the last."""

    def __init__(self, time_base: Fraction, frame_rate: float) -> None:
        super().__init__(time_base, frame_rate)
        self._offset = 0

    def place(self, pts: int | None) -> int:
        if pts is not None:
            pts += self._offset
            if self._last is not None and pts <= self._last:
                self._offset += self._last + self._step - pts
                pts = self._last + self._step
        return super().place(pts)


class Intake:
    """Turns pictures into RawFrames; lives as long as the source, over reconnects.

    Args:
        acquire: how to get a slot; None drops the picture, counted as NO_SLOT.
    """

    def __init__(
        self, pools: PoolProvider, observer: CaptureObserver, clock: Clock, acquire: AcquireSlot
    ) -> None:
        self._pools = pools
        self._observer = observer
        self._clock = clock
        self._acquire = acquire
        self._sequence = 0
        self._epoch = -1
        self._size: tuple[int, int] | None = None
        self._pool: SlotPool | None = None
        self._timeline: Timeline | None = None
        self._frame_rate = 0.0
        self._new_timeline: Callable[[Fraction, float], Timeline] = Timeline
        self.copier = FrameCopier()

    def begin(self, frame_rate: float, timeline: Callable[[Fraction, float], Timeline]) -> None:
        """The source was opened anew: the next picture starts an epoch."""
        self._frame_rate = frame_rate
        self._new_timeline = timeline
        self._size = None

    def take(
        self,
        frame: av.VideoFrame | Picture,
        *,
        pts: int | None,
        time_base: Fraction,
        rotation: Rotation = Rotation.NONE,
    ) -> RawFrame | None:
        """Copies the picture into a slot; None when there was none free."""
        captured_ns = self._clock.monotonic_ns()
        size = rotation.size(frame.width, frame.height)
        if size != self._size or self._pool is None or self._timeline is None:
            self._start_epoch(size, time_base)
        assert self._pool is not None and self._timeline is not None  # noqa: S101, PT018
        place = self._timeline.place(pts)
        slot = self._acquire(self._pool)
        if slot is None:
            self._observer.dropped(DropReason.NO_SLOT)
            return None
        try:
            color = self.copier.copy(frame, slot, rotation)
        except BaseException:
            self._pool.give_back(slot)
            raise
        info = FrameInfo(
            sequence=self._sequence,
            pts=place,
            time_base=self._timeline.time_base,
            epoch=self._epoch,
            captured_ns=captured_ns,
            width=size[0],
            height=size[1],
            color=color,
        )
        self._sequence += 1
        return RawFrame(info, slot, self._pool)

    def _start_epoch(self, size: tuple[int, int], time_base: Fraction) -> None:
        self._epoch += 1
        self._size = size
        self._timeline = self._new_timeline(time_base, self._frame_rate)
        self._pool = self._pools.pool(*size, self._frame_rate)
        self._observer.connected(*size, self._frame_rate)
