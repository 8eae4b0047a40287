"""What is said of the frames of a segment: counts only, never where anybody was."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veil.audit.event import Value

# An hour, the longest segment, at 80 frames a second.
_MOST_FRAMES = 288_000


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
    """Holds frames' counts until their segment is closed. Bounded; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: deque[FrameTally] = deque(maxlen=_MOST_FRAMES)

    def add(self, frame: FrameTally) -> None:
        with self._lock:
            self._frames.append(frame)

    def close_segment(self, first_sequence: int, last_sequence: int) -> Mapping[str, Value]:
        """Totals of the frames `first_sequence`..`last_sequence`; older ones are forgotten."""
        with self._lock:
            while self._frames and self._frames[0].sequence < first_sequence:
                self._frames.popleft()
            inside = [frame for frame in self._frames if frame.sequence <= last_sequence]
        sums = Totals()
        for frame in inside:
            sums.add(frame)
        return sums.data()


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
