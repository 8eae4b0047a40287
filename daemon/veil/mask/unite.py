"""Overlapping masks become one, under the stronger operator.

A grid of cells carries the means of what lies below it. Two grids over one object say more than either, and a
grid that reaches under a solid mask says something of what the solid mask hides. So only solid masks may
overlap, and only each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil.domain.cover import ChromaMask, Operator, Region, Solid, strength
from veil.domain.geometry import EvenRect

MANY = 256
"""More masks than this with a grid are painted solid instead of being compared with each other."""


def unite(regions: Sequence[Region], fixed: Sequence[Region]) -> tuple[Region, ...]:
    """Regions that hide at least as much, of which none with a grid overlaps another.

    Args:
        regions: masks of objects, all rectangles or any shape.
        fixed: masks of zones; they come first in the result where nothing overlaps them.
    """
    every = [*fixed, *regions]
    grids = sum(not isinstance(region.operator, Solid) for region in every)
    if not grids:
        return tuple(every)
    if grids > MANY:
        return tuple(Region(region.shape, Solid()) for region in every)
    done: list[Region] = []
    todo = every[::-1]
    while todo:
        region = todo.pop()
        other = next((one for one in done if _clash(one, region)), None)
        if other is None:
            done.append(region)
        else:
            # whatever it overlapped already may overlap the united one: it is looked at again
            done.remove(other)
            todo.append(_united(other, region))
    return tuple(done)


def bounds_of(region: Region) -> EvenRect | None:
    """The rectangle that the painter reads and writes; None for an empty mask."""
    return region.shape if isinstance(region.shape, EvenRect) else region.shape.bounds


def stronger(first: Operator, second: Operator) -> Operator:
    return first if strength(first) >= strength(second) else second


def _clash(first: Region, second: Region) -> bool:
    """Whether one of the two would read, for its grid, what the other one hides."""
    solid_first, solid_second = isinstance(first.operator, Solid), isinstance(second.operator, Solid)
    if solid_first and solid_second:
        return False
    bounds_1, bounds_2 = bounds_of(first), bounds_of(second)
    if bounds_1 is None or bounds_2 is None or not bounds_1.overlaps(bounds_2):
        return False
    # a grid is made from all that lies in its bounds, a solid mask touches its own cells only
    if solid_first:
        return _touches(first, bounds_2)
    if solid_second:
        return _touches(second, bounds_1)
    return True


def _touches(region: Region, rect: EvenRect) -> bool:
    match region.shape:
        case EvenRect() as own:
            return own.overlaps(rect)
        case ChromaMask(cells):
            return bool(cells[rect.y0 // 2 : rect.y1 // 2, rect.x0 // 2 : rect.x1 // 2].any())


def _united(first: Region, second: Region) -> Region:
    operator = stronger(first.operator, second.operator)
    if isinstance(first.shape, EvenRect) and isinstance(second.shape, EvenRect):
        return Region(first.shape.union(second.shape), operator)
    masks = [region.shape for region in (first, second) if isinstance(region.shape, ChromaMask)]
    cells = np.logical_or.reduce([mask.cells for mask in masks])
    for region in (first, second):
        if isinstance(rect := region.shape, EvenRect):
            cells[rect.y0 // 2 : rect.y1 // 2, rect.x0 // 2 : rect.x1 // 2] = True
    return Region(ChromaMask(cells), operator)
