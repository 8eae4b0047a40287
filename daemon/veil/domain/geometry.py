"""Boxes in pixels and polygons in normalized coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box in pixels of the frame, `x1`/`y1` exclusive. May reach over the frame's edges."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return max(0.0, self.width) * max(0.0, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def is_finite(self) -> bool:
        return all(math.isfinite(value) for value in (self.x0, self.y0, self.x1, self.y1))

    def union(self, other: Box) -> Box:
        """The smallest box around both."""
        return Box(
            min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1)
        )

    def intersection_area(self, other: Box) -> float:
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    def iou(self, other: Box) -> float:
        """Intersection over union, 0..1; 0 for empty boxes."""
        common = self.intersection_area(other)
        whole = self.area + other.area - common
        return common / whole if whole > 0 else 0.0

    def grown(self, fraction_x: float, fraction_y: float | None = None) -> Box:
        """Each side moved outwards by `fraction` of the box's width (x) and height (y)."""
        dx = self.width * fraction_x
        dy = self.height * (fraction_x if fraction_y is None else fraction_y)
        return Box(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy)

    def at_least(self, size: float) -> Box:
        """The same centre with both sides at least `size` pixels."""
        dx = max(0.0, (size - self.width) / 2)
        dy = max(0.0, (size - self.height) / 2)
        return Box(self.x0 - dx, self.y0 - dy, self.x1 + dx, self.y1 + dy)

    def shifted(self, dx: float, dy: float) -> Box:
        return Box(self.x0 + dx, self.y0 + dy, self.x1 + dx, self.y1 + dy)

    def interpolated(self, other: Box, share: float) -> Box:
        """The box `share` (0..1) of the way to `other`."""
        keep = 1 - share
        return Box(
            self.x0 * keep + other.x0 * share,
            self.y0 * keep + other.y0 * share,
            self.x1 * keep + other.x1 * share,
            self.y1 * keep + other.y1 * share,
        )


@dataclass(frozen=True, slots=True)
class EvenRect:
    """A rectangle whose edges lie on even pixels, so that it covers whole chroma samples of 4:2:0.

    `x1`/`y1` are exclusive. Raises ValueError for odd or negative edges and for empty rectangles.
    """

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if any(edge % 2 for edge in (self.x0, self.y0, self.x1, self.y1)):
            raise ValueError(f"{self} has odd edges")
        if not (0 <= self.x0 < self.x1 and 0 <= self.y0 < self.y1):
            raise ValueError(f"{self} is empty or negative")

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    @property
    def area(self) -> int:
        return self.width * self.height

    def union(self, other: EvenRect) -> EvenRect:
        return EvenRect(
            min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1)
        )

    def overlaps(self, other: EvenRect) -> bool:
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1


def snap_outwards(box: Box, width: int, height: int) -> EvenRect | None:
    """The smallest even rectangle around `box` inside a frame of even `width` x `height`.

    Returns None where the box lies outside the frame altogether.
    """
    x0 = max(0, math.floor(box.x0 / 2) * 2)
    y0 = max(0, math.floor(box.y0 / 2) * 2)
    x1 = min(width, math.ceil(box.x1 / 2) * 2)
    y1 = min(height, math.ceil(box.y1 / 2) * 2)
    if x0 >= x1 or y0 >= y1:
        return None
    return EvenRect(x0, y0, x1, y1)


@dataclass(frozen=True, slots=True)
class Polygon:
    """A simple polygon in normalized coordinates (0..1 of width and height), at least three corners."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.points) < 3:
            raise ValueError("a polygon needs at least three points")
        if not all(0 <= x <= 1 and 0 <= y <= 1 for x, y in self.points):
            raise ValueError("polygon points are normalized: 0..1 of the picture's width and height")

    def scaled(self, width: int, height: int) -> Sequence[tuple[float, float]]:
        return [(x * width, y * height) for x, y in self.points]

    def contains(self, x: float, y: float) -> bool:
        """Even-odd rule, for normalized `x`, `y`."""
        inside = False
        points = self.points
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
                inside = not inside
        return inside


def bounding(boxes: Iterable[Box]) -> Box:
    """The smallest box around all; raises ValueError for none."""
    it = iter(boxes)
    try:
        whole = next(it)
    except StopIteration:
        raise ValueError("no boxes") from None
    for box in it:
        whole = whole.union(box)
    return whole
