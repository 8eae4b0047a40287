"""What must be hidden in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from veil.domain.geometry import EvenRect


class Reason(StrEnum):
    """Why a whole frame is hidden."""

    DETECTOR_FAILED = "detector_failed"
    DETECTOR_LATE = "detector_late"
    DETECTOR_STALE = "detector_stale"
    DETECTOR_INVALID = "detector_invalid"
    SEQUENCE_MISMATCH = "sequence_mismatch"
    STARTING = "starting"
    CAMERA_COVERED = "camera_covered"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Solid:
    """Flat colour, the same whatever lies below: the only operator that reveals nothing by construction."""

    y: int = 16
    u: int = 128
    v: int = 128


@dataclass(frozen=True, slots=True)
class Pixelate:
    """At most `cells` cells along the longer side of the region."""

    cells: int


@dataclass(frozen=True, slots=True)
class Blur:
    """At most `resolution` independent samples along the longer side of the region."""

    resolution: int


Operator = Solid | Pixelate | Blur


def strength(operator: Operator) -> tuple[int, int]:
    """Orders operators, larger is stronger: solid, pixelate, blur; fewer cells before more."""
    match operator:
        case Solid():
            return (2, 0)
        case Pixelate(cells):
            return (1, -cells)
        case Blur(resolution):
            return (0, -resolution)


@dataclass(frozen=True, eq=False)
class ChromaMask:
    """Any shape as one boolean per chroma sample (two by two pixels), so it is even-aligned by construction.

    `cells` has shape (height / 2, width / 2) of the frame, dtype bool.
    """

    cells: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Region:
    """One shape and how it is hidden."""

    shape: EvenRect | ChromaMask
    operator: Operator


@dataclass(frozen=True, slots=True)
class Regions:
    """Cover of a frame that detectors looked at: possibly nothing, never by default.

    Attributes:
        sequence: of the frame this cover was made for; the masker refuses any other frame.
        detectors: which bundles really ran on that frame. Empty is not allowed: nobody looked.
    """

    sequence: int
    detectors: tuple[str, ...]
    regions: tuple[Region, ...]

    def __post_init__(self) -> None:
        if not self.detectors:
            raise ValueError("a cover of regions needs at least one detector that ran on the frame")


@dataclass(frozen=True, slots=True)
class WholeFrame:
    """Cover of a frame of which nothing safe is known."""

    sequence: int
    reason: Reason


Cover = Regions | WholeFrame
