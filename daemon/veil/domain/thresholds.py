"""From which score and size a detection counts, per class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """Bundle and config merged, for one class.

    Attributes:
        score: a detection at or above it masks at once and starts a track; 0..1.
        low: a detection at or above it extends a track that exists already; at most `score`.
        min_size: pixels of the box's shorter side in the frame; smaller detections extend tracks, but do not
            start one.

    Raises:
        ValueError: when the numbers do not hold together (NaN included).
    """

    score: float
    low: float
    min_size: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.score <= 1.0:
            raise ValueError(f"thresholds need 0 <= low <= score <= 1, not {self.low} and {self.score}")
        if not 0.0 <= self.min_size < float("inf"):
            raise ValueError(f"a minimum size is in pixels, finite and not negative, not {self.min_size}")
