"""From which score on a detection counts: the bundle's word, or the configuration's within limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from veil.config import ThresholdConfig
from veil.detect.manifest import ThresholdTable
from veil.domain.detection import ObjectClass


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """Thresholds of one class.

    Attributes:
        score: a detection from here on starts a track and masks.
        low: a detection from here on extends a track; never above `score`.
        min_size: pixels of the shorter side in the frame; smaller detections are left out.
    """

    score: float
    low: float
    min_size: float


def effective(
    manifest: Mapping[ObjectClass, ThresholdTable], config: Mapping[ObjectClass, ThresholdConfig]
) -> dict[ObjectClass, ClassThresholds]:
    """For the classes of the manifest; settings for classes that a bundle does not have are left alone."""
    found: dict[ObjectClass, ClassThresholds] = {}
    for kind, own in manifest.items():
        asked = config.get(kind, ThresholdConfig())
        score = own.score if asked.score is None else asked.score
        low = own.low if asked.low is None else asked.low
        found[kind] = ClassThresholds(score, min(low, score), asked.min_size)
    return found
