"""What must be hidden in one frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from veil.domain.geometry import EvenRect
from veil.domain.table import Table


class Reason(StrEnum):
    """Why a whole frame is hidden."""

    DETECTOR_FAILED = "detector_failed"
    DETECTOR_LATE = "detector_late"
    DETECTOR_STALE = "detector_stale"
    DETECTOR_INVALID = "detector_invalid"
    SEQUENCE_MISMATCH = "sequence_mismatch"
    STARTING = "starting"
    CAMERA_COVERED = "camera_covered"
    NO_PICTURE = "no_picture"
    PICTURE_DAMAGED = "picture_damaged"


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

    `cells` has shape (height / 2, width / 2) of the frame, dtype bool. It must not be changed afterwards.
    """

    cells: NDArray[np.bool_]

    @cached_property
    def bounds(self) -> EvenRect | None:
        """The smallest even rectangle around all cells that are set; None for an empty mask."""
        rows = np.flatnonzero(self.cells.any(axis=1))
        columns = np.flatnonzero(self.cells.any(axis=0))
        if not rows.size:
            return None
        return EvenRect(
            2 * int(columns[0]), 2 * int(rows[0]), 2 * int(columns[-1]) + 2, 2 * int(rows[-1]) + 2
        )

    @cached_property
    def cut(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The mask within `bounds`: for chroma samples and, twice as large, for pixels."""
        bounds = self.bounds
        if bounds is None:
            empty = np.zeros((0, 0), np.bool_)
            return empty, empty
        cells = self.cells[bounds.y0 // 2 : bounds.y1 // 2, bounds.x0 // 2 : bounds.x1 // 2]
        return cells, cells.repeat(2, axis=0).repeat(2, axis=1)


@dataclass(frozen=True, slots=True)
class Region:
    """One shape and how it is hidden."""

    shape: EvenRect | ChromaMask
    operator: Operator


@final
class SolidRects(Table[Region]):
    """Rectangles that are all hidden by the default `Solid`.

    `edges` has shape (n, 4), int64: x0, y0, x1, y1 as an EvenRect's; ValueError for any other.
    """

    OPERATOR = Solid()

    def __init__(self, edges: NDArray[np.int64]) -> None:
        if ((edges < 0) | (edges % 2 != 0)).any() or (edges[:, :2] >= edges[:, 2:]).any():
            raise ValueError("a rectangle has odd or negative edges, or is empty")
        self.edges = edges

    def __len__(self) -> int:
        return len(self.edges)

    def _made(self) -> tuple[Region, ...]:
        return tuple(Region(EvenRect(*edges), self.OPERATOR) for edges in self.edges.tolist())


def operators_of(regions: Sequence[Region]) -> Mapping[str, int]:
    """How many regions each operator hides, by its name in lower case."""
    if isinstance(regions, SolidRects):
        return {"solid": len(regions)} if regions else {}
    return Counter(type(region.operator).__name__.lower() for region in regions)


@dataclass(frozen=True, slots=True)
class Regions:
    """Cover of a frame that detectors looked at: possibly nothing, never by default.

    Attributes:
        sequence: of the frame this cover was made for; the masker refuses any other frame.
        detectors: which bundles really ran on that frame. Empty is not allowed: nobody looked.
    """

    sequence: int
    detectors: tuple[str, ...]
    regions: Sequence[Region]

    def __post_init__(self) -> None:
        if not self.detectors:
            raise ValueError("a cover of regions needs at least one detector that ran on the frame")


@dataclass(frozen=True, slots=True)
class WholeFrame:
    """Cover of a frame of which nothing safe is known."""

    sequence: int
    reason: Reason


Cover = Regions | WholeFrame
