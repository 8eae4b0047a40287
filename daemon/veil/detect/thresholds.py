"""From which score on a detection counts: the bundle's word, or the configuration's within limits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from veil.config import ThresholdConfig
from veil.detect.manifest import ThresholdTable
from veil.domain.detection import ObjectClass
from veil.domain.thresholds import LARGE, SMALL, ClassThresholds


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
        found[kind] = ClassThresholds(score, min(low, score), asked.min_size, large)
    return found


def believed(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    low: NDArray[np.float64],
    large: NDArray[np.float64],
    picture_side: float,
) -> NDArray[np.bool_]:
    """Which of n detections reach the bound for their size (`ClassThresholds.large`); shape (n,).

    Args:
        boxes: x0, y0, x1, y1 in pixels, shape (n, 4).
        low, large: thresholds of each detection's class, shape (n,).
        picture_side: the picture's shorter side in pixels, over 0.
    """
    share = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0) / picture_side
    rise = np.log(np.clip(share, SMALL, LARGE) / SMALL) / math.log(LARGE / SMALL)
    # what is not finite stays, so that whoever asked refuses the answer
    return np.asarray(~(scores < low + rise * np.maximum(large - low, 0.0)))
