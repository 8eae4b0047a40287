"""What is said of the frames of a segment: counts only, never where anybody was."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from veil.audit.event import Value

_MOST_FRAMES = 200_000


@dataclass(frozen=True, slots=True)
class FrameTally:
    """Counts of one frame that left: `tracks` are (class, track id), `scores` in thousandths."""

    sequence: int
    detections: tuple[str, ...]
    tracks: tuple[tuple[str, int], ...]
    lowest_score_permille: int | None
    masks: int
    operators: tuple[str, ...]
    whole_reason: str | None


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
    masks = 0
    for frame in frames:
        detections.update(frame.detections)
        operators.update(frame.operators)
        masks += frame.masks
        for kind, track_id in frame.tracks:
            tracks.setdefault(kind, set()).add(track_id)
        if frame.whole_reason is not None:
            whole[frame.whole_reason] += 1
        if frame.lowest_score_permille is not None:
            lowest = min(frame.lowest_score_permille, 1000 if lowest is None else lowest)
    return {
        "detections": dict(sorted(detections.items())),
        "tracks": {kind: len(ids) for kind, ids in sorted(tracks.items())},
        "masks": masks,
        "operators": dict(sorted(operators.items())),
        "whole_frames": dict(sorted(whole.items())),
        "lowest_score_permille": lowest,
    }
