"""Paints covers into the planes of one I420 picture. Only pixels inside a region are read or written."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from veil.domain.cover import (
    Blur,
    ChromaMask,
    Cover,
    Operator,
    Pixelate,
    Region,
    Regions,
    Solid,
    SolidRects,
    WholeFrame,
    strength,
)
from veil.domain.geometry import EvenRect
from veil.frames.picture import PlaneArray, Planes

WHOLE = Solid(y=40)


def paint(planes: Planes, cover: Cover) -> None:
    """Paints `cover` into `planes` in place: weaker operators first, so that the stronger one stays on top.

    Raises ValueError where a region reaches over the picture's edge.
    """
    match cover:
        case WholeFrame():
            _fill(planes, WHOLE)
        case Regions(regions=SolidRects() as rects):
            _paint_rects(planes, rects)
        case Regions(regions=regions):
            for region in sorted(regions, key=lambda region: strength(region.operator)):
                _paint_region(planes, region)


def _fill(planes: Planes, colour: Solid) -> None:
    planes.y[...] = colour.y
    planes.u[...] = colour.u
    planes.v[...] = colour.v


def _paint_rects(planes: Planes, rects: SolidRects) -> None:
    """As painting each of them, without an object each: there are hundreds in a crowd."""
    height, width = planes.y.shape
    if len(rects) and (rects.edges[:, 2:].max(axis=0) > (width, height)).any():
        raise ValueError(f"a rectangle reaches over a picture of {width}x{height}")
    luma, (u, v) = planes.y, planes[1:]
    colour = rects.OPERATOR
    edges = rects.edges
    for x0, y0, x1, y1 in edges.tolist():
        luma[y0:y1, x0:x1].fill(colour.y)
    for x0, y0, x1, y1 in (edges // 2).tolist():
        u[y0:y1, x0:x1].fill(colour.u)
        v[y0:y1, x0:x1].fill(colour.v)


def _cut(planes: Planes, rect: EvenRect) -> Planes:
    """Views of `rect` in all three planes."""
    height, width = planes.y.shape
    if rect.x1 > width or rect.y1 > height:
        raise ValueError(f"{rect} reaches over a picture of {width}x{height}")
    rows, columns = slice(rect.y0 // 2, rect.y1 // 2), slice(rect.x0 // 2, rect.x1 // 2)
    return Planes(
        planes.y[rect.y0 : rect.y1, rect.x0 : rect.x1], planes.u[rows, columns], planes.v[rows, columns]
    )


def _paint_region(planes: Planes, region: Region) -> None:
    match region.shape:
        case EvenRect() as rect:
            _apply(_cut(planes, rect), region.operator)
        case ChromaMask() as mask:
            _paint_mask(planes, mask, region.operator)


def _paint_mask(planes: Planes, mask: ChromaMask, operator: Operator) -> None:
    if mask.cells.shape != planes.u.shape:
        raise ValueError(f"a mask of {mask.cells.shape} cells does not fit chroma planes of {planes.u.shape}")
    bounds = mask.bounds
    if bounds is None:
        return
    part = _cut(planes, bounds)
    cells, pixels = mask.cut
    if isinstance(operator, Solid):
        np.copyto(part.y, np.uint8(operator.y), where=pixels)
        np.copyto(part.u, np.uint8(operator.u), where=cells)
        np.copyto(part.v, np.uint8(operator.v), where=cells)
        return
    hidden = Planes(*(plane.copy() for plane in part))
    _apply(hidden, operator)
    np.copyto(part.y, hidden.y, where=pixels)
    np.copyto(part.u, hidden.u, where=cells)
    np.copyto(part.v, hidden.v, where=cells)


def _apply(part: Planes, operator: Operator) -> None:
    match operator:
        case Solid():
            _fill(part, operator)
        case Pixelate(cells):
            _resample(part, cells, cv2.INTER_NEAREST)
        case Blur(resolution):
            _resample(part, resolution, cv2.INTER_LINEAR)


def grid(width: int, height: int, most: int) -> tuple[int, int]:
    """Columns and rows of square cells, at most `most` along the longer side and at least one along each.

    Raises ValueError for `most` below one.
    """
    if most < 1:
        raise ValueError("a grid needs at least one cell")
    longer = max(width, height)
    return max(1, width * most // longer), max(1, height * most // longer)


def _resample(part: Planes, most: int, interpolation: int) -> None:
    """Keeps no more than the means of the grid's cells; what is drawn back is made from these alone."""
    columns, rows = grid(part.y.shape[1], part.y.shape[0], most)
    for plane in part:
        means = cell_means(plane, columns, rows)
        size = (plane.shape[1], plane.shape[0])
        plane[...] = cv2.resize(means, size, interpolation=interpolation)


def cell_means(plane: PlaneArray, columns: int, rows: int) -> PlaneArray:
    """Mean of each cell of a `columns` x `rows` grid over `plane`; shape (rows, columns), uint8."""
    columns, rows = min(columns, plane.shape[1]), min(rows, plane.shape[0])
    means = cv2.resize(np.ascontiguousarray(plane), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.uint8).reshape(rows, columns)


def painted_cells(
    regions: Sequence[Region], chroma_shape: tuple[int, int]
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Which chroma cells the regions cover, shape (height / 2, width / 2): for evidence and tests."""
    cells = np.zeros(chroma_shape, np.bool_)
    for region in regions:
        match region.shape:
            case EvenRect(x0, y0, x1, y1):
                cells[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = True
            case ChromaMask() as mask:
                cells |= mask.cells
    return cells
