"""The output's clock: media time as captured, made continuous over reconnects, slates and odd cameras."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Protocol

from veil.domain.clock import NANOSECONDS, media_ns
from veil.errors import PipelineError
from veil.frames.picture import FrameInfo

LIVE_TIME_BASE = Fraction(1, 90_000)
_DRIFT_LIMIT_NS = 2 * NANOSECONDS
_SLEW = 5


class Timeline(Protocol):
    """Where a frame or a slate stands in the output."""

    def place(self, info: FrameInfo) -> FrameInfo:
        """`info` with its place on the output's time line."""
        ...

    def slate(self, info: FrameInfo, now_ns: int) -> FrameInfo:
        """`info` placed at the monotonic time `now_ns`."""
        ...


class LiveTimeline:
    """Puts frames of all epochs and slates on one strictly rising 90 kHz time line.

    Within an epoch, distances between frames are the camera's. An epoch begins where its first frame was
    captured by the monotonic clock. A camera whose clock has fallen behind ours by over two seconds is put
    right at once; from one that is ahead by so much a fifth of each distance is taken, so that no pictures
    pile up on one moment.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._epoch: int | None = None
        self._offset_ns = 0
        self._last_media_ns = 0
        self._last_pts = -1

    def place(self, info: FrameInfo) -> FrameInfo:
        """`info` with its place on the output's time line."""
        captured_ns = info.captured_ns - self._start_ns
        media = media_ns(info.pts, info.time_base)
        ahead_ns = media + self._offset_ns - captured_ns
        if info.epoch != self._epoch or ahead_ns < -_DRIFT_LIMIT_NS:
            self._epoch = info.epoch
            self._offset_ns = captured_ns - media
        elif ahead_ns > _DRIFT_LIMIT_NS:
            self._offset_ns -= (media - self._last_media_ns) // _SLEW
        self._last_media_ns = media
        return self._at(info, media + self._offset_ns)

    def slate(self, info: FrameInfo, now_ns: int) -> FrameInfo:
        """`info` placed at the monotonic time `now_ns`."""
        return self._at(info, now_ns - self._start_ns)

    def _at(self, info: FrameInfo, time_ns: int) -> FrameInfo:
        pts = max(self._last_pts + 1, time_ns * LIVE_TIME_BASE.denominator // NANOSECONDS)
        self._last_pts = pts
        return dataclasses.replace(info, pts=pts, time_base=LIVE_TIME_BASE)


class FileTimeline:
    """Leaves a file's timestamps as they are."""

    def place(self, info: FrameInfo) -> FrameInfo:
        return info

    def slate(self, info: FrameInfo, now_ns: int) -> FrameInfo:
        raise PipelineError(f"a file has no slates (frame {info.sequence}, {now_ns} ns)")
