"""Pixels as captured. Whoever holds a RawFrame must mask it or release it."""

from __future__ import annotations

import threading
from types import TracebackType

from veil.errors import LeaseError
from veil.frames.picture import FrameInfo, Planes
from veil.frames.pool import Slot, SlotPool


class RawFrame:
    """A leased slot with recognisable people in it.

    Only `Masker.mask` turns it into something that may leave; afterwards every use raises LeaseError.
    """

    __slots__ = ("_lock", "_pool", "_slot", "info")

    def __init__(self, info: FrameInfo, slot: Slot, pool: SlotPool) -> None:
        self.info = info
        self._slot: Slot | None = slot
        self._pool = pool
        self._lock = threading.Lock()

    @property
    def planes(self) -> Planes:
        """The pixels, to read. Raises LeaseError once masked or released."""
        slot = self._slot
        if slot is None:
            raise LeaseError(f"raw frame {self.info.sequence} was used after its lease ended")
        return slot.planes

    def consume(self) -> tuple[Slot, SlotPool]:
        """Ends this lease and hands the slot on; for the masker alone. Raises LeaseError the second time."""
        with self._lock:
            slot, self._slot = self._slot, None
        if slot is None:
            raise LeaseError(f"raw frame {self.info.sequence} was consumed twice")
        return slot, self._pool

    def release(self) -> None:
        """Drops the frame; its slot goes back. Does nothing when the lease has ended already."""
        with self._lock:
            slot, self._slot = self._slot, None
        if slot is not None:
            self._pool.give_back(slot)

    def __enter__(self) -> RawFrame:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
