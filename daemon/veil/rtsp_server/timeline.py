"""One rising time for viewers, out of media times that may jump and slates that have none."""

from __future__ import annotations

from typing import Final

MOST_BEHIND_NS: Final = 2_000_000_000
_LEAST_STEP_NS: Final = 1_000_000


class Timeline:
    """Puts media times on this machine's monotonic clock. All times in nanoseconds.

    Distances of media time are kept; only where they run away from the clock (a new source, a jump, a slate
    in between) the line starts again at the present. What comes out always rises.
    """

    def __init__(self) -> None:
        self._offset: int | None = None
        self._last = 0

    def place(self, media_ns: int, now_ns: int) -> int:
        """When a picture of `media_ns` is shown that arrived at `now_ns`."""
        # Never ahead of the clock: a sink would hold the picture back until its time has come.
        if self._offset is None or not -MOST_BEHIND_NS <= media_ns + self._offset - now_ns <= 0:
            self._offset = now_ns - media_ns
        return self._rise(media_ns + self._offset)

    def place_now(self, now_ns: int) -> int:
        """When a picture without media time is shown. The next media time starts the line again."""
        self._offset = None
        return self._rise(now_ns)

    def _rise(self, at_ns: int) -> int:
        self._last = max(at_ns, self._last + _LEAST_STEP_NS)
        return self._last
