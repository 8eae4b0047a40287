"""From what is in a frame to what is painted: operator, margin and size by class and zone, and the zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from veil.config import MaskConfig, PolicyConfig
from veil.domain.cover import (
    Blur,
    ChromaMask,
    Operator,
    Pixelate,
    Region,
    Regions,
    Solid,
    SolidRects,
    strength,
)
from veil.domain.detection import CODES, KINDS, ObjectClass
from veil.domain.geometry import EvenRect
from veil.frames.pool import even
from veil.mask.polygon import check_polygon, rasterise
from veil.mask.sightings import Floats, Ints
from veil.mask.targets import Target, TargetTable
from veil.mask.unite import unite

FURTHEST = 1e6
"""Coordinates are clipped to it, in pixels, so that extreme boxes can be computed with."""
_PLACES = 1 << np.array([48, 32, 16, 0])
"""Makes one number of four edges below 65,536."""


@dataclass(frozen=True, slots=True)
class _Zone:
    """Objects of `classes` whose centre lies in `area` are hidden by `policy`."""

    area: ChromaMask
    policy: PolicyConfig
    classes: frozenset[ObjectClass]

    @property
    def codes(self) -> list[int]:
        """Of its classes."""
        return [CODES[kind] for kind in self.classes]


class MaskPolicy:
    """The covers of one camera, of one picture size. Nothing here can switch masking off.

    - Zones with `mask = "always"` are painted in each frame, rounded outwards to whole chroma cells, as
      drawn (no margin).
    - A zone with `mask = "policy"` replaces the policy of its classes for objects whose centre lies in it,
      even by a weaker one; where several such zones overlap the strongest operator, then the widest margin
      wins. Classes that a zone does not name keep their own policy.
    - Heads are hidden where `mask.head` or a zone's policy says so; faces that heads hold come as faces.
    - Overlapping masks are united where one of them is not solid; the stronger operator wins.

    Args:
        width, height: visible size in pixels; regions lie within the slot, padded to even.

    Raises:
        ConfigError: for a zone that encloses nothing.
    """

    def __init__(self, config: MaskConfig, width: int, height: int) -> None:
        self._width, self._height = even(width), even(height)
        of_class = {
            ObjectClass.FACE: config.face,
            ObjectClass.PLATE: config.plate,
            ObjectClass.HEAD: config.head,
        }
        always: list[Region] = []
        zones: list[_Zone] = []
        for zone in config.zones:
            check_polygon(zone.name, zone.points)
            area = rasterise(zone.points, width, height)
            if zone.mask == "always":
                always.append(Region(area, operator_of(zone.policy)))
            else:
                zones.append(_Zone(area, zone.policy, frozenset(zone.classes)))
        self._always = unite((), always)
        # the strongest first, so that the first zone that holds an object decides
        self._zones = sorted(
            zones, key=lambda zone: (strength(operator_of(zone.policy)), zone.policy.margin), reverse=True
        )
        # Of each class, then of each zone; a head without a policy has a place too, which nobody is given.
        classes = [of_class[kind] for kind in KINDS]
        self._of_class = np.array(
            [place if policy is not None else -1 for place, policy in enumerate(classes)], np.int64
        )
        self._policies = [policy or config.face for policy in classes]
        self._policies += [zone.policy for zone in self._zones]
        self._margins = np.array([policy.margin for policy in self._policies])[:, None]
        self._least = np.array([policy.min_size for policy in self._policies])[:, None]
        operators = [operator_of(policy) for policy in self._policies]
        operators += [region.operator for region in self._always]
        self._all_solid = all(operator == SolidRects.OPERATOR for operator in operators)

    def cover(self, sequence: int, detectors: tuple[str, ...], targets: Sequence[Target]) -> Regions:
        """The cover of frame `sequence`, on which `detectors` really ran (ValueError where none did)."""
        return Regions(sequence, detectors, self.regions(targets))

    def regions(self, targets: Sequence[Target]) -> Sequence[Region]:
        """What is painted for `targets`, and the zones that always are."""
        table = TargetTable.of(targets)
        policies = self._policies_of(table)
        hidden = np.flatnonzero(policies >= 0)
        if not len(hidden):
            return self._always
        policies = policies[hidden]
        edges = self._edges(table.boxes[hidden], self._margins[policies], self._least[policies])
        inside = np.flatnonzero((edges[:, :2] < edges[:, 2:]).all(axis=1))
        if self._all_solid:
            rects = SolidRects(_once(edges[inside]))
            return (*self._always, *rects) if self._always else rects
        shapes = dict.fromkeys(
            (*rect, operator_of(self._policies[policy]))
            for rect, policy in zip(edges[inside].tolist(), policies[inside].tolist(), strict=True)
        )
        return unite(
            tuple(Region(EvenRect(x0, y0, x1, y1), operator) for x0, y0, x1, y1, operator in shapes),
            self._always,
        )

    def policy_of(self, target: Target) -> PolicyConfig | None:
        """The policy that holds for `target`; None for a head that is not hidden on its own."""
        (index,) = self._policies_of(TargetTable.of((target,))).tolist()
        return None if index < 0 else self._policies[index]

    def _policies_of(self, targets: TargetTable) -> Ints:
        """For each target the place of its policy, -1 for none."""
        policies = self._of_class[targets.kinds]
        if self._zones:
            boxes = targets.boxes
            rows = self._cells(boxes[:, 1], boxes[:, 3], self._height)
            columns = self._cells(boxes[:, 0], boxes[:, 2], self._width)
            # the strongest last: it has the last word
            for index, zone in reversed(list(enumerate(self._zones))):
                within = zone.area.cells[rows, columns] & np.isin(targets.kinds, zone.codes)
                policies[within] = len(KINDS) + index
        return policies

    def _edges(self, boxes: Floats, margins: Floats, least: Floats) -> Ints:
        """Boxes with their margin and least size, outwards to even pixels, within the slot."""
        corners = np.clip(boxes, -FURTHEST, FURTHEST)
        # A detector's box may be the wrong way round; the tracker turns it, stills have none.
        low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
        sides = high - low
        grow = sides * margins
        grow += np.maximum(0, least - sides - 2 * grow) / 2
        size = (self._width, self._height)
        low = np.clip(np.floor((low - grow) / 2) * 2, 0, size)
        high = np.clip(np.ceil((high + grow) / 2) * 2, 0, size)
        return np.concatenate([low, high], axis=1).astype(np.int64)

    @staticmethod
    def _cells(low: Floats, high: Floats, size: int) -> Ints:
        """Chroma rows or columns of the middle of that part of each box which lies in the picture."""
        middle = (np.clip(low, 0, size) + np.clip(high, 0, size)) / 2
        cells: Ints = np.minimum(middle.astype(np.int64) // 2, size // 2 - 1)
        return cells


def _once(edges: Ints) -> Ints:
    """Rectangles that are the same are painted once; the first of them stays in its place."""
    keys = edges @ _PLACES if int(np.max(edges, initial=0)) <= np.iinfo(np.uint16).max else edges
    _, first = np.unique(keys, axis=0, return_index=True)
    first.sort()
    return edges[first]


def operator_of(policy: PolicyConfig) -> Operator:
    """The painter's operator for a policy."""
    return _operator(policy.operator, policy.cells, policy.resolution)


def _operator(name: Literal["solid", "pixelate", "blur"], cells: int, resolution: int) -> Operator:
    match name:
        case "solid":
            return Solid()
        case "pixelate":
            return Pixelate(cells)
        case "blur":
            return Blur(resolution)
