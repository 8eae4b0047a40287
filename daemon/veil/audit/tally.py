"""What is said of the frames of a segment: counts only, never where anybody was."""

from __future__ import annotations

import threading
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from veil.audit.event import Value

_MOST_FRAMES = 200_000


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


def packed(tracks: Iterable[tuple[str, int]]) -> Mapping[str, bytes]:
    """(class, track id) pairs as eight bytes an id."""
    by_kind: dict[str, array[int]] = {}
    for kind, track_id in tracks:
        by_kind.setdefault(kind, array("Q")).append(track_id)
    return {kind: ids.tobytes() for kind, ids in by_kind.items()}


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
        return totals(inside)


def totals(frames: Iterable[FrameTally]) -> Mapping[str, Value]:
    """Sums as event data."""
    detections: Counter[str] = Counter()
    tracks: dict[str, set[int]] = {}
    whole: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    lowest: int | None = None
    for frame in frames:
        detections.update(frame.detections)
        operators.update(frame.operators)
        for kind, ids in frame.tracks.items():
            tracks.setdefault(kind, set()).update(array("Q", ids))
        if frame.whole_reason is not None:
            whole[frame.whole_reason] += 1
        if frame.lowest_score_permille is not None:
            lowest = min(frame.lowest_score_permille, 1000 if lowest is None else lowest)
    return {
        "detections": dict(sorted(detections.items())),
        "tracks": {kind: len(ids) for kind, ids in sorted(tracks.items())},
        "masks": operators.total(),
        "operators": dict(sorted(operators.items())),
        "whole_frames": dict(sorted(whole.items())),
        "lowest_score_permille": lowest,
    }
