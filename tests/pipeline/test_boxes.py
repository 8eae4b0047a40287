"""Boxes as a detector may give them."""

from __future__ import annotations

import pytest

from veil.config import MaskConfig
from veil.domain.cover import Region
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box, EvenRect
from veil.mask.policy import MaskPolicy
from veil.mask.targets import Target


def regions(box: Box) -> tuple[Region, ...]:
    return MaskPolicy(MaskConfig(), 200, 200).regions([Target(ObjectClass.FACE, box, 0.9, 1)])


@pytest.mark.parametrize("box", [Box(100, 100, 50, 40), Box(50, 100, 100, 40), Box(100, 40, 50, 100)])
def test_a_box_the_wrong_way_round_hides_what_it_spans(box: Box) -> None:
    assert regions(box) == regions(Box(50, 40, 100, 100))


def test_an_empty_box_hides_the_smallest_mask() -> None:
    (region,) = regions(Box(50, 50, 50, 50))
    assert region.shape == EvenRect(44, 44, 56, 56)
