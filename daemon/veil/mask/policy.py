"""From what is in a frame to what is painted: operator, margin and size by class and zone, and the zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from veil.config import MaskConfig, PolicyConfig
from veil.domain.cover import Blur, ChromaMask, Operator, Pixelate, Region, Regions, Solid, strength
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box, snap_outwards
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
        boxes: dict[Region, None] = {}
        for target in targets:
            region = self._region(target)
            if region is not None:
                boxes[region] = None
        return unite(tuple(boxes), self._always)

    def policy_of(self, target: Target) -> PolicyConfig | None:
        """The policy that holds for `target`; None for a head that is not hidden on its own."""
        if self._zones:
            x, y = _clip(target.box, 0, 0, self._width, self._height).centre
            row = min(int(y) // 2, self._height // 2 - 1)
            column = min(int(x) // 2, self._width // 2 - 1)
            for zone in self._zones:
                if target.kind in zone.classes and zone.area.cells[row, column]:
                    return zone.policy
        return self._policies[target.kind]

    def _region(self, target: Target) -> Region | None:
        policy = self.policy_of(target)
        if policy is None:
            return None
        box = _clip(target.box, -FURTHEST, -FURTHEST, FURTHEST, FURTHEST)
        shape = snap_outwards(box.grown(policy.margin).at_least(policy.min_size), self._width, self._height)
        return None if shape is None else Region(shape, operator_of(policy))


def operator_of(policy: PolicyConfig) -> Operator:
    """The painter's operator for a policy."""
    match policy.operator:
        case "solid":
            return Solid()
        case "pixelate":
            return Pixelate(policy.cells)
        case "blur":
            return Blur(policy.resolution)


def _clip(box: Box, x0: float, y0: float, x1: float, y1: float) -> Box:
    return Box(
        min(max(box.x0, x0), x1), min(max(box.y0, y0), y1), min(max(box.x1, x0), x1), min(max(box.y1, y0), y1)
    )
