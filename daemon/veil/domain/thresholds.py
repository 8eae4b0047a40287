"""From which score and size a detection counts, per class."""

from __future__ import annotations

from dataclasses import dataclass

SMALL, LARGE = 0.08, 0.3
"""A box's longer side as a share of the picture's shorter one: from where on the bound for large boxes rises,
and from where on it is `ClassThresholds.large`."""
FAR, NEAR = 0.04, 0.12
"""The same for `ClassThresholds.sure`. What is smaller than FAR costs little and is found now and then."""


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """Bundle and config merged, for one class.

    Attributes:
        score: a detection at or above it masks at once and starts a track; 0..1.
        low: a detection at or above it extends a track that exists already; at most `score`.
        min_size: pixels of the box's shorter side in the frame; smaller detections extend tracks, but do not
            start one.
        large: in moving pictures, the score below which a box of LARGE is not believed at all; from SMALL on
            the bound rises to it from `low`. Detectors are sure of what is large and near, and what is
            masked in error there hides most of the picture.
        sure: the score from which a box of NEAR is sure; from FAR on the bound rises to it from `low`, and
            smaller boxes are sure at any score. What never was sure is not hidden for long before and after
            it is found. 0: all are sure.

    Raises:
        ValueError: when the numbers do not hold together (NaN included).
    """

    score: float
    low: float
    min_size: float = 0.0
    large: float = 0.0
    sure: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low <= self.score <= 1.0:
            raise ValueError(f"thresholds need 0 <= low <= score <= 1, not {self.low} and {self.score}")
        for bound in (self.large, self.sure):
            if not 0.0 <= bound <= 1.0:
                raise ValueError(f"a score is between 0 and 1, not {bound}")
        if not 0.0 <= self.min_size < float("inf"):
            raise ValueError(f"a minimum size is in pixels, finite and not negative, not {self.min_size}")
