"""What a detector says of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from veil.domain.geometry import Box


class ObjectClass(StrEnum):
    """What Veil looks for. Heads are found to hold faces that turn away; a policy decides on them."""

    FACE = "face"
    PLATE = "plate"
    HEAD = "head"


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: box in pixels of the frame, score 0..1."""

    kind: ObjectClass
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """A detector's answer for one frame.

    Attributes:
        sequence: the frame's sequence number, copied from the frame that was looked at.
        detections: down to the bundle's `low` thresholds, after merging of tiles.
        detectors: `name@version` of each bundle that really ran on this frame's pixels.
        tiles: indices of the tiles looked at besides the whole frame.
        elapsed_ns: time from first preprocessing to last box, monotonic.
    """

    sequence: int
    detections: tuple[Detection, ...]
    detectors: tuple[str, ...]
    tiles: tuple[int, ...] = ()
    elapsed_ns: int = 0
