"""What a painted region still says about the pixels below it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_made import info, noise
from veil.domain.cover import (
    Blur,
    ChromaMask,
    Operator,
    Pixelate,
    Reason,
    Region,
    Regions,
    Solid,
    SolidRects,
    WholeFrame,
)
from veil.domain.geometry import Box, EvenRect, snap_outwards
from veil.errors import PainterError
from veil.frames.picture import Planes
from veil.frames.pool import SlotPool
from veil.mask.masker import Masker
from veil.mask.painter import WHOLE, grid, painted_cells

WIDTH, HEIGHT = 64, 48


def rects() -> st.SearchStrategy[EvenRect]:
    def build(x: int, y: int, width: int, height: int) -> EvenRect:
        return EvenRect(2 * x, 2 * y, min(WIDTH, 2 * (x + width)), min(HEIGHT, 2 * (y + height)))

    return st.builds(
        build,
        st.integers(0, WIDTH // 2 - 1),
        st.integers(0, HEIGHT // 2 - 1),
        st.integers(1, WIDTH // 2),
        st.integers(1, HEIGHT // 2),
    )


def operators() -> st.SearchStrategy[Operator]:
    return st.one_of(
        st.just(Solid()), st.builds(Pixelate, st.integers(1, 8)), st.builds(Blur, st.integers(1, 8))
    )


def masked(regions: Sequence[Region], seed: int) -> Planes:
    """Copies of the planes of a noise frame after masking."""
    pool = SlotPool(WIDTH, HEIGHT, 1)
    with Masker().mask(noise(pool, info(1), seed), Regions(1, ("oracle@1",), regions)) as frame:
        return Planes(*(plane.copy() for plane in frame.planes))


def raw(seed: int) -> Planes:
    return raw_of(WIDTH, HEIGHT, seed)


def raw_of(width: int, height: int, seed: int = 0) -> Planes:
    pool = SlotPool(width, height, 1)
    with noise(pool, info(1), seed) as frame:
        return Planes(*(plane.copy() for plane in frame.planes))


@settings(deadline=None, max_examples=100)
@given(st.lists(rects(), max_size=12), st.integers(0, 99))
def test_rectangles_in_columns_hide_what_they_hide_one_by_one(boxes: list[EvenRect], seed: int) -> None:
    boxes += boxes[:2]
    edges = np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], np.int64).reshape(-1, 4)
    regions = tuple(Region(box, Solid()) for box in boxes)
    assert SolidRects(edges) == regions
    for one, other in zip(masked(SolidRects(edges), seed), masked(regions, seed), strict=True):
        assert np.array_equal(one, other)


def test_too_many_rectangles_to_compare_are_all_painted() -> None:
    edges = np.array([(x, y, x + 2, y + 2) for x in range(0, WIDTH, 2) for y in range(0, HEIGHT, 2)])
    assert np.all(masked(SolidRects(edges), 1).y == Solid().y)


@pytest.mark.parametrize("edges", [(1, 0, 4, 4), (0, 0, 4, 5), (-2, 0, 4, 4), (4, 0, 4, 4), (6, 0, 4, 4)])
def test_rectangles_that_would_leave_something_out_are_refused(edges: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rectangle"):
        SolidRects(np.array([(0, 0, 2, 2), edges]))


def test_a_rectangle_over_the_edge_is_refused() -> None:
    with pytest.raises(PainterError, match="reaches over"):
        masked(SolidRects(np.array([(0, 0, 2, 2), (0, 0, WIDTH + 2, 2)])), 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(rects(), max_size=5), st.integers(0, 99))
def test_solid_says_nothing_of_what_is_below(boxes: list[EvenRect], seed: int) -> None:
    regions = tuple(Region(box, Solid()) for box in boxes)
    one, two = masked(regions, seed), masked(regions, seed + 1)
    cells = painted_cells(regions, one.u.shape)
    pixels = cells.repeat(2, 0).repeat(2, 1)
    assert np.all(one.y[pixels] == Solid().y)
    assert np.array_equal(one.y[pixels], two.y[pixels])
    for plane in (one.u, one.v, two.u, two.v):
        assert np.all(plane[cells] == 128)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.builds(Region, rects(), operators()), max_size=4), st.integers(0, 99))
def test_nothing_outside_the_regions_changes(regions: list[Region], seed: int) -> None:
    before, after = raw(seed), masked(tuple(regions), seed)
    cells = painted_cells(regions, after.u.shape)
    pixels = cells.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(before.y[~pixels], after.y[~pixels])
    assert np.array_equal(before.u[~cells], after.u[~cells])
    assert np.array_equal(before.v[~cells], after.v[~cells])


@settings(deadline=None, max_examples=60)
@given(rects(), st.integers(1, 8), st.integers(0, 99))
def test_pixelate_leaves_no_more_values_than_cells(box: EvenRect, cells: int, seed: int) -> None:
    planes = masked((Region(box, Pixelate(cells)),), seed)
    part = planes.y[box.y0 : box.y1, box.x0 : box.x1]
    columns, rows = grid(box.width, box.height, cells)
    assert max(columns, rows) <= cells
    assert len({row.tobytes() for row in part}) <= rows
    assert len({column.tobytes() for column in part.T}) <= columns


@settings(deadline=None, max_examples=60)
@given(rects(), st.integers(1, 8), st.integers(0, 99))
def test_blur_keeps_no_more_than_its_resolution(box: EvenRect, resolution: int, seed: int) -> None:
    """What is drawn is an interpolation of a few means: its rank cannot exceed their number."""
    planes = masked((Region(box, Blur(resolution)),), seed)
    part = planes.y[box.y0 : box.y1, box.x0 : box.x1].astype(np.float64)
    columns, rows = grid(box.width, box.height, resolution)
    singular = np.linalg.svd(part - 0.0, compute_uv=False)
    rounding = 0.6 * np.sqrt(part.size)
    assert np.count_nonzero(singular > rounding) <= min(columns, rows) + 1


@settings(deadline=None, max_examples=60)
@given(rects(), rects(), st.integers(0, 99))
def test_the_stronger_operator_wins_where_masks_overlap(one: EvenRect, two: EvenRect, seed: int) -> None:
    for order in (1, -1):
        regions = (Region(one, Solid()), Region(two, Pixelate(4)))[::order]
        planes = masked(regions, seed)
        assert np.all(planes.y[one.y0 : one.y1, one.x0 : one.x1] == Solid().y)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), operators())
def test_a_mask_of_any_shape_changes_its_own_cells_only(seed: int, operator: Operator) -> None:
    cells = np.random.default_rng(seed).random((HEIGHT // 2, WIDTH // 2)) < 0.3
    before, after = raw(1), masked((Region(ChromaMask(cells), operator),), 1)
    pixels = cells.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(before.y[~pixels], after.y[~pixels])
    assert np.array_equal(before.v[~cells], after.v[~cells])
    if isinstance(operator, Solid):
        assert np.all(after.y[pixels] == operator.y)


def test_whole_frame_leaves_one_colour() -> None:
    pool = SlotPool(WIDTH, HEIGHT, 1)
    with Masker().mask(noise(pool, info(1)), WholeFrame(1, Reason.DETECTOR_LATE)) as frame:
        assert set(np.unique(frame.planes.y)) == {WHOLE.y}
        assert set(np.unique(frame.planes.u)) == {128}
        assert set(np.unique(frame.planes.v)) == {128}


def test_cover_of_another_frame_hides_the_whole_frame() -> None:
    pool = SlotPool(WIDTH, HEIGHT, 1)
    with Masker().mask(noise(pool, info(7)), Regions(6, ("oracle@1",), ())) as frame:
        assert frame.cover == WholeFrame(7, Reason.SEQUENCE_MISMATCH)
        assert set(np.unique(frame.planes.y)) == {WHOLE.y}


def test_cover_without_a_detector_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one detector"):
        Regions(1, (), ())


@settings(max_examples=300)
@given(
    st.tuples(*[st.floats(-200, 300, allow_nan=False) for _ in range(2)]),
    st.tuples(*[st.floats(0.01, 200, allow_nan=False) for _ in range(2)]),
)
def test_snapping_never_uncovers_a_pixel(corner: tuple[float, float], size: tuple[float, float]) -> None:
    box = Box(corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    rect = snap_outwards(box, WIDTH, HEIGHT)
    if rect is None:
        assert box.x1 <= 0 or box.y1 <= 0 or box.x0 >= WIDTH or box.y0 >= HEIGHT
        return
    assert rect.x0 <= max(0, box.x0)
    assert rect.y0 <= max(0, box.y0)
    assert rect.x1 >= min(WIDTH, box.x1)
    assert rect.y1 >= min(HEIGHT, box.y1)
    assert rect.x1 <= WIDTH
    assert rect.y1 <= HEIGHT


def test_mark_is_written_over_the_masked_picture_and_nowhere_else() -> None:
    pool = SlotPool(640, 360, 1)
    about = dataclasses.replace(info(1, 640, 360), mark="picture frozen")
    before = raw_of(640, 360)
    with Masker().mask(noise(pool, about), Regions(1, ("oracle@1",), ())) as frame:
        band = slice(360 - 44, 360)
        assert set(np.unique(frame.planes.u[-22:])) == {128}
        assert np.mean(frame.planes.y[band] == 32) > 0.8
        assert np.max(frame.planes.y[band]) > 150
        assert np.array_equal(frame.planes.y[: 360 - 44], before.y[: 360 - 44])
