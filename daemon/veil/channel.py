"""The two kinds of channel between stages, named by what they do when full."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from veil.errors import PipelineError

T = TypeVar("T")


class ChannelClosedError(PipelineError):
    """The other end has stopped; a reader gets it once the channel is empty."""


class ChannelFullError(PipelineError):
    """A reliable channel's reader did not make room within the deadline."""


class _Channel(Generic[T]):
    def __init__(self, bound: int) -> None:
        if bound < 1:
            raise ValueError("a channel needs a bound of at least one")
        self._bound = bound
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def get(self, timeout_s: float) -> T | None:
        """The oldest item, or None when none came in time. Raises ChannelClosedError at the end."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._items:
                if self._closed:
                    raise ChannelClosedError("the channel is closed")
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def wait_for_room(self, most: int, timeout_s: float) -> None:
        """Until fewer than `most` items wait, it is closed, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < most, timeout_s)

    def close(self) -> None:
        """No more items come; what is inside can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> list[T]:
        """Takes all items at once (to release what they hold)."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)


class Latest(_Channel[T]):
    """Drops the oldest item when full, and counts it. `put` never blocks.

    Args:
        bound: items held at most.
        dropped: called with each dropped item, outside the lock (to release a lease, to count).
    """

    def __init__(self, bound: int, dropped: Callable[[T], None]) -> None:
        super().__init__(bound)
        self._dropped = dropped

    def put(self, item: T) -> None:
        """Raises ChannelClosedError when closed."""
        lost: T | None = None
        with self._changed:
            if self._closed:
                raise ChannelClosedError("the channel is closed")
            if self._is_full_for(item):
                lost = self._items.popleft()
            self._items.append(item)
            self._changed.notify_all()
        if lost is not None:
            self._dropped(lost)

    def _is_full_for(self, item: T) -> bool:
        """Whether the oldest item has to go. Called with the lock held."""
        del item
        return len(self._items) >= self._bound


class Reliable(_Channel[T]):
    """Blocks when full, up to a deadline, and then fails."""

    def put(self, item: T, timeout_s: float) -> None:
        """Raises ChannelFullError without room within `timeout_s`, ChannelClosedError when closed."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self._items) >= self._bound and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ChannelFullError(f"no room for {timeout_s:g} s")
                self._changed.wait(left)
            if self._closed:
                raise ChannelClosedError("the channel is closed")
            self._items.append(item)
            self._changed.notify_all()
