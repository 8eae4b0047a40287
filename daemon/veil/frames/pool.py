"""A camera's fixed set of I420 slots.

A slot has one owner at a time: a raw frame, then a masked frame, then the pool.
"""

from __future__ import annotations

import threading
import time

import av
import numpy as np

from veil.errors import LeaseError, PipelineError
from veil.frames.picture import PlaneArray, Planes


def even(size: int) -> int:
    """The next even number: what 4:2:0 encoders need."""
    return size + size % 2


def _plane_view(plane: av.video.plane.VideoPlane, width: int, height: int) -> PlaneArray:
    flat: PlaneArray = np.frombuffer(memoryview(plane), np.uint8)
    return flat[: plane.line_size * height].reshape(height, plane.line_size)[:, :width]


class Slot:
    """One I420 picture of even size, allocated once and reused.

    `picture` is a reference-counted frame of the codec library, so that the encoder takes it without a copy.
    """

    def __init__(self, index: int, width: int, height: int) -> None:
        if width % 2 or height % 2 or width <= 0 or height <= 0:
            raise ValueError(f"slots have even sizes, not {width}x{height}")
        self.index = index
        self.width = width
        self.height = height
        self.picture = av.VideoFrame(width, height, "yuv420p")
        y, u, v = self.picture.planes
        self.planes = Planes(
            _plane_view(y, width, height),
            _plane_view(u, width // 2, height // 2),
            _plane_view(v, width // 2, height // 2),
        )


class SlotPool:
    """`count` slots of one size. Nothing is allocated after construction.

    Args:
        width, height: visible size in pixels; slots are padded to even.
        count: how many frames may be in flight (look-back, channels and stages together).
    """

    def __init__(self, width: int, height: int, count: int) -> None:
        self.width = even(width)
        self.height = even(height)
        self._slots = [Slot(index, self.width, self.height) for index in range(count)]
        self._free = list(self._slots)
        self._free_ids = set(range(count))
        self._changed = threading.Condition()

    @property
    def count(self) -> int:
        return len(self._slots)

    @property
    def free(self) -> int:
        with self._changed:
            return len(self._free)

    def acquire(self, timeout_s: float) -> Slot | None:
        """A free slot, or None when there was none within `timeout_s` (the caller drops the frame)."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._free:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return None
            # The last one that came back: slots that are never needed at once stay untouched memory.
            slot = self._free.pop()
            self._free_ids.discard(slot.index)
            return slot

    def give_back(self, slot: Slot) -> None:
        """Ends the owner's lease. Raises LeaseError for a slot that is free already or of another pool."""
        with self._changed:
            if slot.index >= len(self._slots) or self._slots[slot.index] is not slot:
                raise LeaseError("a slot came back to a pool that it is not from")
            if slot.index in self._free_ids:
                raise LeaseError("a slot was given back twice")
            self._free.append(slot)
            self._free_ids.add(slot.index)
            self._changed.notify()


def require_size(pool: SlotPool, width: int, height: int) -> None:
    """Raises PipelineError where a frame of `width` x `height` does not belong into the pool."""
    if (pool.width, pool.height) != (even(width), even(height)):
        raise PipelineError(f"a frame of {width}x{height} was put into slots of {pool.width}x{pool.height}")
