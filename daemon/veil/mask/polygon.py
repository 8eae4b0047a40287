"""Polygons to chroma cells, rounded outwards: a cell that the polygon touches is covered."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from veil.domain.cover import ChromaMask
from veil.errors import ConfigError

CELL = 2.0
"""Pixels along one side of a chroma cell of 4:2:0."""
SLACK = 1e-6
"""Pixels by which edges are widened, so that rounding never leaves a touched cell out."""
FLAT = 1e-9
"""Normalized area below which all points count as lying on one line."""
_HINT = "Give at least three corners, each as [x, y] between 0 and 1 of the picture's width and height."

Point = tuple[float, float]


def check_polygon(name: str, points: Sequence[Point]) -> None:
    """Raises ConfigError for a polygon that encloses nothing or lies outside the picture.

    Edges that cross each other are allowed: everything they go around is inside.
    """
    if len(points) < 3:
        raise ConfigError(f"Zone '{name}' has {len(points)} corners.", hint=_HINT)
    if not all(0 <= value <= 1 for point in points for value in point):  # NaN is not between either
        raise ConfigError(f"Zone '{name}' has a corner outside the picture.", hint=_HINT)
    (ax, ay), *others = points
    areas = (
        abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
        for (bx, by), (cx, cy) in itertools.combinations(others, 2)
    )
    if max(areas) < FLAT:
        raise ConfigError(f"The corners of zone '{name}' lie on one line.", hint=_HINT)


def rasterise(points: Sequence[Point], width: int, height: int) -> ChromaMask:
    """Every chroma cell that the closed polygon touches.

    `points` are normalized to the visible `width` x `height` in pixels; the mask has the shape of the slot's
    chroma planes (odd sizes padded to even). Self-crossing outlines count by winding number, which covers
    at least what the even-odd rule covers.
    """
    rows, columns = (height + 1) // 2, (width + 1) // 2
    cells = np.zeros((rows, columns), np.bool_)
    corners = [(x * width / CELL, y * height / CELL) for x, y in points]
    edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    _fill_inside(cells, edges)
    for start, end in edges:
        _cover_edge(cells, start, end)
    return ChromaMask(cells)


def _fill_inside(cells: NDArray[np.bool_], edges: Sequence[tuple[Point, Point]]) -> None:
    """Cells whose middle lies inside; those that an edge goes through are `_cover_edge`'s."""
    rows, columns = cells.shape
    turns = np.zeros((rows, columns + 1), np.int32)
    for (ax, ay), (bx, by) in edges:
        if ay == by:
            continue
        turn = 1 if by > ay else -1
        top, bottom = min(ay, by), max(ay, by)
        row = np.arange(max(0, math.ceil(top - 0.5)), min(rows, math.ceil(bottom - 0.5)))
        if row.size:
            x = ax + (row + 0.5 - ay) * ((bx - ax) / (by - ay))
            # middles to the right of the crossing are one turn further in
            column = np.clip(np.ceil(x - 0.5), 0, columns).astype(np.int64)
            np.add.at(turns, (row, column), turn)
    cells |= np.cumsum(turns, axis=1)[:, :columns] != 0


def _cover_edge(cells: NDArray[np.bool_], start: Point, end: Point) -> None:
    """All cells that the segment touches, corners included."""
    rows, columns = cells.shape
    (ax, ay), (bx, by) = sorted((start, end), key=lambda point: point[1])
    first = max(0, math.floor(ay - SLACK))
    last = min(rows - 1, math.floor(by + SLACK))
    for row in range(first, last + 1):
        if by - ay > SLACK:
            slope = (bx - ax) / (by - ay)
            ends = [ax + (min(max(y, ay), by) - ay) * slope for y in (row - SLACK, row + 1 + SLACK)]
        else:
            ends = [ax, bx]
        left = max(0, math.floor(min(ends) - SLACK))
        right = min(columns - 1, math.floor(max(ends) + SLACK))
        cells[row, left : right + 1] = True
