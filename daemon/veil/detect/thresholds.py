"""From which score on a detection counts: the bundle's word, or the configuration's within limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.config import ThresholdConfig
from veil.detect.manifest import ThresholdTable
from veil.domain.detection import KINDS, DetectionTable, ObjectClass
from veil.domain.thresholds import FAR, LARGE, NEAR, SMALL, ClassThresholds

Floats = NDArray[np.float64]


def effective(
    manifest: Mapping[ObjectClass, ThresholdTable], config: Mapping[ObjectClass, ThresholdConfig]
) -> dict[ObjectClass, ClassThresholds]:
    """For the classes of the manifest; settings for classes that a bundle does not have are left alone."""
    found: dict[ObjectClass, ClassThresholds] = {}
    for kind, own in manifest.items():
        asked = config.get(kind, ThresholdConfig())
        score = own.score if asked.score is None else asked.score
        low = own.low if asked.low is None else asked.low
        large = own.large if asked.large is None else asked.large
        sure = own.sure if asked.sure is None else asked.sure
        found[kind] = ClassThresholds(score, min(low, score), asked.min_size, large, sure)
    return found


@dataclass(frozen=True, slots=True)
class SizeBounds:
    """The bounds that rise with a box's size; one value for each class, in the order of KINDS."""

    low: Floats
    large: Floats
    sure: Floats

    @classmethod
    def of(cls, thresholds: Mapping[ObjectClass, ClassThresholds], large_share: float = 1.0) -> SizeBounds:
        """Classes that are missing have no bounds; of `large` only a share may count."""
        limits = [thresholds.get(kind, ClassThresholds(0.0, 0.0)) for kind in KINDS]
        columns = np.array([(limit.low, limit.large, limit.sure) for limit in limits]).T
        return cls(columns[0], columns[1] * large_share, columns[2])

    def judged(self, found: DetectionTable, picture_side: float) -> DetectionTable:
        """Without what is too large for its score, and with what is sure.

        Args:
            picture_side: the picture's shorter side in pixels, over 0.
        """
        share = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1, initial=0.0) / picture_side
        low, large, sure = self.low[found.kinds], self.large[found.kinds], self.sure[found.kinds]
        # what is not finite stays, so that whoever asked refuses the answer
        kept = ~(found.scores < _bound(share, low, large, SMALL, LARGE))
        is_sure = found.scores >= _bound(share, low, sure, FAR, NEAR)
        return DetectionTable(found.kinds[kept], found.boxes[kept], found.scores[kept], is_sure[kept])


def _bound(share: Floats, low: Floats, high: Floats, small: float, large: float) -> Floats:
    """Rises from `low` to `high` with the logarithm of `share` between `small` and `large`."""
    rise = np.log(np.clip(share, small, large) / small) / math.log(large / small)
    return np.asarray(low + rise * np.maximum(high - low, 0.0))
