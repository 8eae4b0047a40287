"""From which score on a detection counts: the bundle's word, or the configuration's within limits."""

from __future__ import annotations

from collections.abc import Mapping

from veil.config import ThresholdConfig
from veil.detect.manifest import ThresholdTable
from veil.domain.detection import ObjectClass
from veil.domain.thresholds import ClassThresholds


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
