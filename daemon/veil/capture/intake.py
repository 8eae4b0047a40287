"""What all sources share: number, time and place a decoded picture as a RawFrame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import av

from veil.capture.copy import FrameCopier, Picture, Rotation, aspect_of
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.domain.clock import Clock
from veil.frames.picture import ColorInfo, FrameInfo
from veil.frames.pool import Slot, SlotPool
from veil.frames.raw import RawFrame

_FILE_WAIT_S = 0.1
_LITTLE_BACK_S = 0.25
_DAMAGED = "picture damaged"

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
    """Media time that rises strictly and is never negative.

    Timestamps of the source pass unchanged as long as they rise. Where they begin below zero, all of them
    move up. A missing one is filled with the last plus one nominal frame; a repeated one, or one that goes
    back a little, with the last plus one tick. Where they go back further, as in recordings that were joined,
    or begin late, they go on one nominal frame after the last, with the source's distances.
    """

    _least_share = 0.0
    _longest_step_s: float | None = None

    def __init__(self, time_base: Fraction, frame_rate: float) -> None:
        self.time_base = time_base
        self._step = max(1, round(1 / (frame_rate * time_base)))
        self._little_back = int(_LITTLE_BACK_S / time_base)
        self._least_step = max(1, int(self._least_share * self._step))
        self._longest_step = self._longest_step_s and int(self._longest_step_s / time_base)
        self._offset = 0
        self._last: int | None = None
        self._is_stamped = False

    def place(self, pts: int | None) -> int:
        self._last = self._next(self._last, pts)
        return self._last

    def _next(self, last: int | None, pts: int | None) -> int:
        if pts is None:
            return 0 if last is None else last + self._step
        was_stamped, self._is_stamped = self._is_stamped, True
        if last is None:
            self._offset = max(0, -pts)
            return pts + self._offset
        pts += self._offset
        if pts > last and (self._longest_step is None or pts - last <= self._longest_step):
            return pts
        if was_stamped and 0 <= last - pts < self._little_back:
            return last + self._least_step
        self._offset += last + self._step - pts
        return last + self._step


class LiveTimeline(Timeline):
    """As `Timeline`, for clocks that jump: a step of more than five seconds goes on one nominal frame after
    the last. So long without a picture, a camera counts as silent; and recorders are known that date single
    pictures hours ahead, which must not end the look-back or what is held. A repeated timestamp, or one that
    is a little back, is put half a nominal frame after the last: pictures of clocks that jitter keep a
    distance, and the next good timestamp still passes as it is."""

    _least_share = 0.5
    _longest_step_s = 5.0


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
        self._size = self._timeline = None

    def take(
        self,
        frame: av.VideoFrame | Picture,
        *,
        pts: int | None,
        time_base: Fraction,
        rotation: Rotation = Rotation.NONE,
        sample_aspect: Fraction | None = None,
    ) -> RawFrame | None:
        """Copies the picture into a slot; None when there was none free.

        Args:
            sample_aspect: width to height of one of the picture's samples, before the turn; None: not said.
        """

        def fill(slot: Slot) -> ColorInfo:
            return self.copier.copy(frame, slot, rotation)

        size = rotation.size(frame.width, frame.height)
        return self._taken(size, pts, time_base, fill, aspect_of(sample_aspect, rotation))

    def stand_in(
        self,
        like: av.VideoFrame,
        *,
        pts: int | None,
        time_base: Fraction,
        rotation: Rotation = Rotation.NONE,
        sample_aspect: Fraction | None = None,
    ) -> RawFrame | None:
        """In place of a picture that could not be decoded: a grey one, which says that it is damaged.

        Args:
            like: a picture of the same size and colours. None of its pixels is used.
        """

        def fill(slot: Slot) -> ColorInfo:
            return self.copier.leave_blank(like, slot)

        size = rotation.size(like.width, like.height)
        raw = self._taken(size, pts, time_base, fill, aspect_of(sample_aspect, rotation))
        if raw is not None:
            raw.info = replace(raw.info, is_damaged=True, mark=_DAMAGED)
        return raw

    def _taken(
        self,
        size: tuple[int, int],
        pts: int | None,
        time_base: Fraction,
        fill: Callable[[Slot], ColorInfo],
        aspect: tuple[int, int],
    ) -> RawFrame | None:
        captured_ns = self._clock.monotonic_ns()
        if size != self._size or self._pool is None or self._timeline is None:
            self._start_epoch(size, time_base)
        assert self._pool is not None and self._timeline is not None  # noqa: S101, PT018
        place = self._timeline.place(pts)
        slot = self._acquire(self._pool)
        if slot is None:
            self._observer.dropped(DropReason.NO_SLOT)
            return None
        try:
            color = fill(slot)
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
            color=replace(color, aspect=aspect),
        )
        self._sequence += 1
        return RawFrame(info, slot, self._pool)

    def _start_epoch(self, size: tuple[int, int], time_base: Fraction) -> None:
        self._epoch += 1
        self._size = size
        if self._timeline is None:
            self._timeline = self._new_timeline(time_base, self._frame_rate)
        self._pool = self._pools.pool(*size, self._frame_rate)
        self._observer.connected(*size, self._frame_rate)
