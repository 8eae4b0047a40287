"""From what is in a frame to what is painted: operator, margin and size by class and zone, and the zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from veil.config import MaskConfig, PolicyConfig
from veil.domain.cover import Blur, ChromaMask, Operator, Pixelate, Region, Regions, Solid, strength
from veil.domain.detection import ObjectClass
from veil.domain.geometry import EvenRect
from veil.frames.pool import even
from veil.mask.polygon import check_polygon, rasterise
from veil.mask.targets import Target
from veil.mask.unite import unite

FURTHEST = 1e6
"""Coordinates are clipped to it, in pixels, so that extreme boxes can be computed with."""


@dataclass(frozen=True, slots=True)
class _Zone:
    """Objects of `classes` whose centre lies in `area` are hidden by `policy`."""

    area: ChromaMask
    policy: PolicyConfig
    classes: frozenset[ObjectClass]


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
        self._policies = {
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

    def cover(self, sequence: int, detectors: tuple[str, ...], targets: Sequence[Target]) -> Regions:
        """The cover of frame `sequence`, on which `detectors` really ran (ValueError where none did)."""
        return Regions(sequence, detectors, self.regions(targets))

    def regions(self, targets: Sequence[Target]) -> tuple[Region, ...]:
        """What is painted for `targets`, and the zones that always are."""
        hidden = [
            (target.box, policy) for target in targets if (policy := self.policy_of(target)) is not None
        ]
        if not hidden:
            return self._always
        corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box, _ in hidden], np.float64)
        margins = np.array([policy.margin for _, policy in hidden])[:, None]
        least = np.array([policy.min_size for _, policy in hidden])[:, None]
        np.clip(corners, -FURTHEST, FURTHEST, out=corners)
        # A detector's box may be the wrong way round; the tracker turns it, stills have none.
        low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
        corners = np.concatenate([low, high], axis=1)
        sides = corners[:, 2:] - corners[:, :2]
        grow = sides * margins
        grow += np.maximum(0, least - sides - 2 * grow) / 2
        # outwards to even pixels, within the slot
        size = (self._width, self._height)
        low = np.clip(np.floor((corners[:, :2] - grow) / 2) * 2, 0, size)
        high = np.clip(np.ceil((corners[:, 2:] + grow) / 2) * 2, 0, size)
        rects = np.concatenate([low, high], axis=1).astype(np.int64)
        # a dictionary for its order: boxes that are the same are painted once
        shapes = dict.fromkeys(
            (*rect, policy.operator, policy.cells, policy.resolution)
            for rect, (_, policy) in zip(rects.tolist(), hidden, strict=True)
            if rect[0] < rect[2] and rect[1] < rect[3]
        )
        return unite(
            tuple(
                Region(EvenRect(x0, y0, x1, y1), _operator(name, cells, resolution))
                for x0, y0, x1, y1, name, cells, resolution in shapes
            ),
            self._always,
        )

    def policy_of(self, target: Target) -> PolicyConfig | None:
        """The policy that holds for `target`; None for a head that is not hidden on its own."""
        if self._zones:
            row = self._cell(target.box.y0, target.box.y1, self._height)
            column = self._cell(target.box.x0, target.box.x1, self._width)
            for zone in self._zones:
                if target.kind in zone.classes and zone.area.cells[row, column]:
                    return zone.policy
        return self._policies[target.kind]

    @staticmethod
    def _cell(low: float, high: float, size: int) -> int:
        """Chroma row or column of the middle of that part of a box which lies in the picture."""
        middle = (min(max(low, 0), size) + min(max(high, 0), size)) / 2
        return min(int(middle) // 2, size // 2 - 1)


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
