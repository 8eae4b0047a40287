"""Zones drawn as polygons: every chroma cell that is touched is covered, and nothing far from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veil.config import MaskConfig, ZoneConfig
from veil.domain.geometry import Polygon
from veil.errors import ConfigError
from veil.mask.policy import MaskPolicy
from veil.mask.polygon import rasterise

shares = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
polygons = st.lists(st.tuples(shares, shares), min_size=3, max_size=8).map(tuple)
sizes = st.tuples(st.integers(4, 90), st.integers(4, 90))
Points = tuple[tuple[float, float], ...]


@given(polygons, sizes, st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_every_touched_cell_is_covered(points: Points, size: tuple[int, int], seed: int) -> None:
    """Against points: random ones inside (even-odd rule), and ones on the edges, both sides of a border."""
    width, height = size
    cells = rasterise(points, width, height).cells
    assert cells.shape == ((height + 1) // 2, (width + 1) // 2)
    inside = Polygon(points)
    chance = np.random.default_rng(seed)
    for x, y in chance.random((200, 2)).tolist():
        if inside.contains(x, y):
            assert cells[int(y * height) // 2, int(x * width) // 2]
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        for share in np.linspace(0, 1, 60).tolist():
            x = (ax + (bx - ax) * share) * width / 2
            y = (ay + (by - ay) * share) * height / 2
            for column in {math.floor(x - 1e-9), math.floor(x)}:
                for row in {math.floor(y - 1e-9), math.floor(y)}:
                    if 0 <= row < cells.shape[0] and 0 <= column < cells.shape[1]:
                        assert cells[row, column]


@given(polygons, sizes)
@settings(max_examples=100, deadline=None)
def test_no_cell_is_covered_that_the_polygon_does_not_touch(points: Points, size: tuple[int, int]) -> None:
    """Within the convex hull's own cells: each covered cell meets an edge, or its middle is inside."""
    width, height = size
    corners = [(x * width / 2, y * height / 2) for x, y in points]
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    for row, column in np.argwhere(rasterise(points, width, height).cells).tolist():
        assert _winding(edges, column + 0.5, row + 0.5) or any(
            _meets(edge, column, row, slack=1e-4) for edge in edges
        )


def _winding(edges: list[tuple[tuple[float, float], tuple[float, float]]], x: float, y: float) -> int:
    angle = 0.0
    for (ax, ay), (bx, by) in edges:
        turn = math.atan2(by - y, bx - x) - math.atan2(ay - y, ax - x)
        angle += (turn + math.pi) % (2 * math.pi) - math.pi
    return round(angle / (2 * math.pi))


def _meets(
    edge: tuple[tuple[float, float], tuple[float, float]], column: int, row: int, slack: float
) -> bool:
    """Liang and Barsky's clipping of the segment to the cell, widened by `slack`."""
    (ax, ay), (bx, by) = edge
    low, high = 0.0, 1.0
    for start, way, first in ((ax, bx - ax, column), (ay, by - ay, row)):
        near, far = first - slack, first + 1 + slack
        if way == 0:
            if not near <= start <= far:
                return False
            continue
        first_t, last_t = sorted(((near - start) / way, (far - start) / way))
        low, high = max(low, first_t), min(high, last_t)
    return low <= high


def test_crossing_outlines_cover_all_they_go_around() -> None:
    star = tuple(
        (0.5 + 0.45 * math.sin(4 * math.pi * k / 5), 0.5 - 0.45 * math.cos(4 * math.pi * k / 5))
        for k in range(5)
    )
    assert rasterise(star, 200, 200).cells[50, 50], "the middle of a pentagram, outside by even-odd"


def test_the_whole_picture_covers_odd_edges_too() -> None:
    whole = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    assert rasterise(whole, 627, 361).cells.all()


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0.1, 0.1), (0.2, 0.2)),
        ((0.1, 0.1), (0.2, 0.2), (0.3, 0.3)),
        ((0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5)),
        ((0.1, 0.1), (0.9, 0.1), (1.1, 0.5)),
        ((0.1, 0.1), (0.9, 0.1), (math.nan, 0.5)),
        ((0.1, 0.1), (0.9, 0.1), (math.inf, 0.5)),
    ],
)
def test_degenerate_polygons_are_refused_with_a_hint(points: Points) -> None:
    for mask in ("always", "policy"):
        zone = ZoneConfig.model_construct(name="door", points=points, mask=mask)
        with pytest.raises(ConfigError, match="door") as refusal:
            MaskPolicy(MaskConfig.model_construct(zones=(zone,)), 640, 360)
        assert "0 and 1" in refusal.value.hint
