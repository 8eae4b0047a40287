"""One picture asked at a scale, mirrored or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from veil_models.boxes import Array
from veil_models.detect import Detector, letterbox
from veil_models.pack import Pixels

LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Look:
    """One way of asking."""

    scale: float
    mirrored: bool


def ask(detector: Detector, rgb: Pixels, look: Look, floor: float) -> Array:
    """Rows x1, y1, x2, y2, score, class in pixels of the picture, for scores from `floor` on."""
    longest = min(LONGEST, round(max(rgb.shape[:2]) * look.scale))
    seen, ratio = letterbox(rgb, longest)
    if look.mirrored:
        seen = np.ascontiguousarray(seen[:, ::-1])
    found = detector.find(seen, floor)
    boxes = found.xyxy.copy()
    if look.mirrored:
        boxes[:, [0, 2]] = seen.shape[1] - boxes[:, [2, 0]]
    rows = [boxes / ratio, found.score[:, None], found.category[:, None]]
    return np.concatenate(rows, 1).astype(np.float32)
