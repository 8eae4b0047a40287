"""What is said of the frames of a segment: counts only, never where anybody was."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veil.audit.event import Value

_MOST_FRAMES = 9_000
"""Five minutes at 30 frames a second: how long a disk may stand still."""


@dataclass(frozen=True, slots=True)
class FrameTally:
    """Counts of one frame that left, small enough to keep for every frame of a segment.

    Attributes:
        detections, operators: how many of each class and operator.
        tracks: by class, the ids as `packed` makes them.
    """

    sequence: int
    detections: Mapping[str, int]
    tracks: Mapping[str, bytes]
    lowest_score_permille: int | None
    operators: Mapping[str, int]
    whole_reason: str | None


def packed(ids: Mapping[str, Sequence[int]]) -> Mapping[str, bytes]:
    """Track ids by class as eight bytes an id."""
    return {kind: array("Q", of_kind).tobytes() for kind, of_kind in ids.items()}


class Tally:
    """Holds frames' counts until it is known whether they are in a segment, and then their sum. Thread-safe.

    Args:
        most_frames: that wait at a time. Beyond it new ones are not counted: a recorder that is so far
            behind does not record them either.
    """

    def __init__(self, most_frames: int = _MOST_FRAMES) -> None:
        self._most_frames = most_frames
        self._lock = threading.Lock()
        self._frames: deque[FrameTally] = deque()
        self._first: int | None = None
        self._sums = Totals()

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._frames)

    def add(self, frame: FrameTally) -> None:
        with self._lock:
            if len(self._frames) < self._most_frames:
                self._frames.append(frame)

    def settle(self, written: range) -> None:
        """`written`: sequence numbers from the open segment's first to the last in its file. They are summed,
        older ones are forgotten. To be called often, by one thread: it is what bounds the memory.
        """
        if written.start != self._first:
            self._first, self._sums = written.start, Totals()
        for frame in self._leaving(written):
            if frame.sequence >= written.start:
                self._sums.add(frame)

    def close_segment(self, first_sequence: int, last_sequence: int) -> Mapping[str, Value]:
        """Totals of the frames `first_sequence`..`last_sequence`; they and older ones are forgotten."""
        self.settle(range(first_sequence, last_sequence + 1))
        data = self._sums.data()
        self._first, self._sums = None, Totals()
        return data

    def _leaving(self, written: range) -> list[FrameTally]:
        leaving = []
        with self._lock:
            while self._frames and self._frames[0].sequence < written.stop:
                leaving.append(self._frames.popleft())
        return leaving


class Totals:
    """Sums of frames' counts. Its memory does not grow with their number, only with that of tracks."""

    def __init__(self) -> None:
        self._detections: Counter[str] = Counter()
        self._operators: Counter[str] = Counter()
        self._whole: Counter[str] = Counter()
        self._tracks: dict[str, set[int]] = {}
        self._lowest: int | None = None

    def add(self, frame: FrameTally) -> None:
        self._detections.update(frame.detections)
        self._operators.update(frame.operators)
        for kind, ids in frame.tracks.items():
            self._tracks.setdefault(kind, set()).update(array("Q", ids))
        if frame.whole_reason is not None:
            self._whole[frame.whole_reason] += 1
        if frame.lowest_score_permille is not None:
            self._lowest = min(frame.lowest_score_permille, 1000 if self._lowest is None else self._lowest)

    def whole(self, reason: str) -> int:
        """How many frames were hidden as a whole because of `reason`."""
        return self._whole[reason]

    def data(self) -> Mapping[str, Value]:
        """As event data."""
        return {
            "detections": dict(sorted(self._detections.items())),
            "tracks": {kind: len(ids) for kind, ids in sorted(self._tracks.items())},
            "masks": self._operators.total(),
            "operators": dict(sorted(self._operators.items())),
            "whole_frames": dict(sorted(self._whole.items())),
            "lowest_score_permille": self._lowest,
        }
