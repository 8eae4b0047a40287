"""What a detector says of one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import final

import numpy as np
from numpy.typing import NDArray

from veil.domain.geometry import Box
from veil.domain.table import Table


class ObjectClass(StrEnum):
    """What Veil looks for. Heads are found to hold faces that turn away; a policy decides on them."""

    FACE = "face"
    PLATE = "plate"
    HEAD = "head"


KINDS = tuple(ObjectClass)
"""Columns hold a class as its place in here."""
CODES = {kind: code for code, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: box in pixels of the frame, score 0..1.

    `is_sure`: whether the score is good for a box of this size (`ClassThresholds.sure`). What is unsure is
    hidden all the same, but not for long before and after.
    """

    kind: ObjectClass
    box: Box
    score: float
    is_sure: bool = True


@final
class DetectionTable(Table[Detection]):
    """Detections as columns.

    Attributes:
        kinds: shape (n,), int64, into KINDS.
        boxes: corners x0, y0, x1, y1 in pixels of the frame, shape (n, 4), float64.
        scores: shape (n,), float64.
        sure: shape (n,), bool; left out: all are.
    """

    def __init__(
        self,
        kinds: NDArray[np.int64],
        boxes: NDArray[np.float64],
        scores: NDArray[np.float64],
        sure: NDArray[np.bool_] | None = None,
    ) -> None:
        self.kinds = kinds
        self.boxes = boxes
        self.scores = scores
        self.sure = np.ones(len(scores), np.bool_) if sure is None else sure

    @classmethod
    def of(cls, detections: Sequence[Detection]) -> DetectionTable:
        """`detections` itself where it is a table."""
        if isinstance(detections, DetectionTable):
            return detections
        return cls(
            np.array([CODES[found.kind] for found in detections], np.int64),
            corners_of([found.box for found in detections]),
            np.array([found.score for found in detections], np.float64),
            np.array([found.is_sure for found in detections], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self, chosen: NDArray[np.bool_]) -> DetectionTable:
        """Those that are `chosen`, in order."""
        return DetectionTable(self.kinds[chosen], self.boxes[chosen], self.scores[chosen], self.sure[chosen])

    @property
    def is_sound(self) -> bool:
        """Whether each class is known, each box finite and each score 0..1. A NaN is in no range."""
        return bool(
            ((self.kinds >= 0) & (self.kinds < len(KINDS)) & (self.scores >= 0) & (self.scores <= 1)).all()
            and np.isfinite(self.boxes).all()
        )

    def by_class(self) -> Mapping[str, int]:
        """How many of each class that is there."""
        counts = np.bincount(self.kinds, minlength=len(KINDS)).tolist()
        return {str(kind): count for kind, count in zip(KINDS, counts, strict=True) if count}

    def _made(self) -> tuple[Detection, ...]:
        columns = self.kinds.tolist(), self.boxes.tolist(), self.scores.tolist(), self.sure.tolist()
        return tuple(
            Detection(KINDS[kind], Box(*box), score, is_sure)
            for kind, box, score, is_sure in zip(*columns, strict=True)
        )


def corners_of(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Shape (n, 4): x0, y0, x1, y1."""
    return np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], np.float64).reshape(-1, 4)


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
    detections: Sequence[Detection]
    detectors: tuple[str, ...]
    tiles: tuple[int, ...] = ()
    elapsed_ns: int = 0
