"""Which access units one viewer gets: from a keyframe on, and after each loss from the next keyframe."""

from __future__ import annotations


class KeyframeGate:
    """Of one viewer.

    Attributes:
        dropped: access units that did not fit, or that came after such a loss and before the next keyframe.
        stalled_since_ns: when the viewer stopped taking what comes; None while it does.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._has_begun = False
        self.dropped = 0
        self.stalled_since_ns: int | None = None

    def admits(self, now_ns: int, *, keyframe: bool, has_room: bool) -> bool:
        """Whether the next access unit goes to the viewer, whose queue `has_room` or not."""
        if not self._is_open and not keyframe:
            self.dropped += self._has_begun
            return False
        if not has_room:
            self._is_open = False
            self.dropped += 1
            if self.stalled_since_ns is None:
                self.stalled_since_ns = now_ns
            return False
        self._is_open, self._has_begun = True, True
        self.stalled_since_ns = None
        return True
