"""What the pipeline expects of every source."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Protocol

from veil.errors import VeilError
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame


class DropReason(StrEnum):
    """Why a captured frame never reached the masker. Every drop is counted by one of these."""

    NO_SLOT = "no_slot"
    DETECTOR_SLOW = "detector_slow"
    DECODER_SLOW = "decoder_slow"
    DECODE_ERROR = "decode_error"
    BEFORE_KEYFRAME = "before_keyframe"
    PAINTER_FAILED = "painter_failed"
    SOURCE_CHANGED = "source_changed"


class PoolProvider(Protocol):
    """Gives the pool for a picture size; the pipeline decides how many slots it has."""

    def pool(self, width: int, height: int, frame_rate: float) -> SlotPool:
        """The pool for visible size `width` x `height`; the same object for the same size."""
        ...


class CaptureObserver(Protocol):
    """Told of everything that is not a frame. Called on the capture thread; must not block."""

    def connected(self, width: int, height: int, frame_rate: float) -> None: ...

    def disconnected(self, error: VeilError, retry_in_s: float) -> None: ...

    def dropped(self, reason: DropReason) -> None: ...


class Source(Protocol):
    """An opened camera or file."""

    @property
    def is_live(self) -> bool:
        """Live sources drop frames when nobody takes them; files wait."""
        ...

    def frames(self) -> Iterator[RawFrame]:
        """Frames in presentation order until the source ends or `close` is called from any thread.

        Live sources reconnect by themselves, for ever, and tell the observer. Files raise CaptureError for
        unreadable input and return at their end.
        """
        ...

    def close(self) -> None: ...
