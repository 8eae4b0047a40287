"""Overlapping masks become one, under the stronger operator.

A grid of cells carries the means of what lies below it. Two grids over one object say more than either, and a
grid that reaches under a solid mask says something of what the solid mask hides. So only solid masks may
overlap, and only each other.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
    while groups := _clashing(every):
        united = {index for group in groups for index in group}
        whole = [functools.reduce(_united, [every[index] for index in sorted(group)]) for group in groups]
        every = [region for index, region in enumerate(every) if index not in united] + whole
    return tuple(every)


def _clashing(regions: Sequence[Region]) -> list[set[int]]:
    """Groups of indices that hang together by clashes."""
    edges = np.zeros((len(regions), 4))
    for index, region in enumerate(regions):
        if (rect := bounds_of(region)) is not None:
            edges[index] = rect.x0, rect.y0, rect.x1, rect.y1
    low, high = edges[:, :2], edges[:, 2:]
    over = ((low[:, None] < high) & (low < high[:, None])).all(axis=2)
    solid = np.array([isinstance(region.operator, Solid) for region in regions])
    firsts, seconds = np.nonzero(np.triu(over & ~(solid[:, None] & solid), 1))
    group_of: dict[int, set[int]] = {}
    for first, second in zip(firsts.tolist(), seconds.tolist(), strict=True):
        if _clash(regions[first], regions[second]):
            merged = group_of.get(first, {first}) | group_of.get(second, {second})
            for index in merged:
                group_of[index] = merged
    return list({id(group): group for group in group_of.values()}.values())


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
    cells: NDArray[np.bool_] = np.asarray(np.stack([mask.cells for mask in masks]).any(axis=0))
    for region in (first, second):
        if isinstance(rect := region.shape, EvenRect):
            cells[rect.y0 // 2 : rect.y1 // 2, rect.x0 // 2 : rect.x1 // 2] = True
    return Region(ChromaMask(cells), operator)
