"""What is hidden and how: `[mask]`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from veil.config.section import Name, Section
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Polygon

Points = tuple[tuple[float, float], ...]


class PolicyConfig(Section):
    """`[mask.face]`, `[mask.plate]`, `[mask.head]`, or of a zone: how one class is hidden."""

    operator: Literal["solid", "pixelate", "blur"] = Field(
        "solid", description="solid reveals nothing; pixelate and blur keep a rest of the picture"
    )
    margin: float = Field(
        0.1, ge=0, le=1, description="share of the box's width and height added on each side"
    )
    min_size: int = Field(12, ge=8, le=256, description="pixels; smaller masks are enlarged to this")
    cells: int = Field(6, ge=1, le=8, description="pixelate: cells along the longer side at most")
    resolution: int = Field(6, ge=1, le=8, description="blur: samples left along the longer side at most")


class ZoneConfig(Section):
    """`[[mask.zones]]`: a polygon in normalized coordinates."""

    name: Name = Field(description="name of the zone, in evidence", examples=["clock"])
    points: Points = Field(
        description="corners [x, y], 0..1 of the picture's width and height, no crossing edges",
        examples=[[[0.0, 0.0], [1.0, 0.0], [1.0, 0.12], [0.0, 0.12]]],
    )
    mask: Literal["always", "policy"] = Field(
        "always",
        description="always: painted in each frame; policy: objects with their centre in it get this policy",
    )
    policy: PolicyConfig = Field(PolicyConfig(), description="how this zone, or what is in it, is hidden")
    classes: tuple[ObjectClass, ...] = Field(
        (ObjectClass.FACE, ObjectClass.PLATE, ObjectClass.HEAD),
        min_length=1,
        description='classes that the policy is for; of no meaning with "always"',
    )

    @field_validator("points")
    @classmethod
    def _check_points(cls, points: Points) -> Points:
        polygon = Polygon(points)
        problem = polygon_problem(polygon)
        if problem:
            raise ValueError(problem)
        return points


class MaskConfig(Section):
    """`[mask]`: what is hidden and how. There is no key that switches masking off."""

    lookback_s: float = Field(
        0.5, ge=0, le=5, description="seconds a frame waits, so that new tracks cover the frames before"
    )
    tail_s: float = Field(
        0.2,
        ge=0.1,
        le=10,
        description="seconds something stays masked once the look-back shows that it is not seen again",
    )
    unsure_s: float = Field(
        0.1,
        ge=0.05,
        le=10,
        description="the same, and seconds before it is first seen, for what is large and never scored well",
    )
    face: PolicyConfig = Field(PolicyConfig(margin=0.05), description="how faces are hidden")
    # A plate is a few pixels high: a box that is one off leaves characters at its edge.
    plate: PolicyConfig = Field(PolicyConfig(margin=0.09), description="how licence plates are hidden")
    head: PolicyConfig | None = Field(
        None, description="how heads are hidden; unset: heads only keep face tracks alive"
    )
    zones: tuple[ZoneConfig, ...] = Field(
        (), max_length=64, description="areas; the list of a camera replaces the default list"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [zone.name for zone in self.zones]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"zones with the same name: {', '.join(twice)}")
        return self


def polygon_problem(polygon: Polygon) -> str:
    """Why a polygon cannot be a zone, or "". Where edges cross, the even-odd rule leaves holes."""
    points = polygon.points
    count = len(points)
    if len(set(points)) != count:
        return "a polygon names a corner twice (it closes by itself)"
    edges = [(points[i], points[(i + 1) % count]) for i in range(count)]
    for i, (a, b) in enumerate(edges):
        for j in range(i + 2, count):
            if i == 0 and j == count - 1:
                continue
            if _cross(a, b, *edges[j]):
                return f"edges {i + 1} and {j + 1} of a polygon cross: part of it would stay uncovered"
    area = abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in edges)) / 2
    if area < 1e-6:
        return "a polygon has no area"
    return ""


def _side(a: tuple[float, float], b: tuple[float, float], point: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])


def _cross(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]
) -> bool:
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0
