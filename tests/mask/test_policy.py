"""What is painted: operators, margins, zones, and how masks that overlap become one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veil.config import MaskConfig, PolicyConfig, ZoneConfig
from veil.domain.cover import Blur, ChromaMask, Pixelate, Region, Regions, Solid, strength
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box, EvenRect
from veil.frames.picture import Planes
from veil.mask.painter import paint, painted_cells
from veil.mask.policy import MaskPolicy
from veil.mask.targets import Target
from veil.mask.unite import MANY, bounds_of

FACE, PLATE, HEAD = ObjectClass.FACE, ObjectClass.PLATE, ObjectClass.HEAD
WIDTH, HEIGHT = 321, 181
SLOT = (91, 161)
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def target(x0: float, y0: float, x1: float, y1: float, kind: ObjectClass = FACE) -> Target:
    return Target(kind, Box(x0, y0, x1, y1), 0.9, 1)


def policy(
    zones: Sequence[ZoneConfig] = (),
    *,
    face: PolicyConfig | None = None,
    plate: PolicyConfig | None = None,
    head: PolicyConfig | None = None,
) -> MaskPolicy:
    config = MaskConfig(
        face=face or PolicyConfig(margin=0),
        plate=plate or PolicyConfig(margin=0),
        head=head,
        zones=tuple(one.model_copy(update={"name": f"zone{n}"}) for n, one in enumerate(zones)),
    )
    return MaskPolicy(config, WIDTH, HEIGHT)


def zone(points: tuple[tuple[float, float], ...] = LEFT, **more: object) -> ZoneConfig:
    return ZoneConfig.model_validate({"name": "zone", "points": points, **more})


def test_each_class_has_its_operator_and_margin() -> None:
    mine = policy(
        face=PolicyConfig(margin=0.5, operator="blur", resolution=5),
        plate=PolicyConfig(margin=0, operator="pixelate", cells=3),
        head=PolicyConfig(margin=0.1),
    )
    regions = mine.regions(
        [target(100, 100, 120, 120), target(40, 40, 60, 60, PLATE), target(200, 100, 220, 120, HEAD)]
    )
    assert set(regions) == {
        Region(EvenRect(90, 90, 130, 130), Blur(5)),
        Region(EvenRect(40, 40, 60, 60), Pixelate(3)),
        Region(EvenRect(198, 98, 222, 122), Solid()),
    }


def test_heads_are_not_hidden_on_their_own_without_a_policy() -> None:
    assert policy().regions([target(100, 100, 120, 120, HEAD)]) == ()


def test_small_boxes_get_the_minimum_size() -> None:
    (region,) = policy(face=PolicyConfig(margin=0, min_size=24)).regions([target(100, 100, 102, 103)])
    assert isinstance(region.shape, EvenRect)
    assert min(region.shape.width, region.shape.height) >= 24


@given(
    st.tuples(*[st.floats(-1e9, 1e9) | st.floats(-50, 400)] * 4),
    st.floats(0, 1),
    st.sampled_from([8, 40, 256]),
)
def test_boxes_are_covered_to_even_edges_within_the_slot(
    corners: tuple[float, float, float, float], margin: float, least: int
) -> None:
    x0, x1 = sorted((corners[0], corners[2]))
    y0, y1 = sorted((corners[1], corners[3]))
    regions = policy(face=PolicyConfig(margin=margin, min_size=least)).regions([target(x0, y0, x1, y1)])
    cells = painted_cells(regions, SLOT)
    for column in range(max(0, int(min(x0, 1e4))), int(min(x1, WIDTH))):
        for row in (max(0.0, y0), min(y1, HEIGHT) - 1e-6):
            if y0 <= row < y1 and 0 <= row < HEIGHT:
                assert cells[int(row) // 2, column // 2]


def test_the_cover_names_frame_and_detectors() -> None:
    cover = policy().cover(7, ("veil-s@1",), [target(0, 0, 20, 20)])
    assert cover == Regions(7, ("veil-s@1",), (Region(EvenRect(0, 0, 20, 20), Solid()),))
    with pytest.raises(ValueError, match="detector"):
        policy().cover(7, (), [])


def test_always_zones_are_painted_in_every_frame() -> None:
    (region,) = policy([zone()]).regions([])
    cells = painted_cells([region], SLOT)
    assert cells[:, :81].all()
    assert not cells[:, 81:].any()


def test_a_policy_zone_decides_for_the_centres_inside_even_weaker() -> None:
    mine = policy([zone(mask="policy", policy=PolicyConfig(operator="blur", margin=0))])
    inside, outside = target(150, 40, 168, 60), target(153, 80, 173, 100)
    assert mine.regions([inside]) == (Region(EvenRect(150, 40, 168, 60), Blur(6)),)
    assert mine.regions([outside]) == (Region(EvenRect(152, 80, 174, 100), Solid()),)


def test_classes_that_a_zone_does_not_name_keep_their_own_policy() -> None:
    mine = policy([zone(mask="policy", policy=PolicyConfig(operator="blur"), classes=["plate"])])
    assert mine.regions([target(20, 20, 40, 40)]) == (Region(EvenRect(20, 20, 40, 40), Solid()),)


def test_of_overlapping_policy_zones_the_strongest_decides() -> None:
    weak = zone(mask="policy", policy=PolicyConfig(operator="blur", margin=0))
    strong = zone(mask="policy", policy=PolicyConfig(operator="pixelate", margin=0))
    for zones in ([weak, strong], [strong, weak]):
        (region,) = policy(zones).regions([target(20, 20, 40, 40)])
        assert region.operator == Pixelate(6)


def test_objects_over_the_edge_belong_to_the_zone_at_the_edge() -> None:
    mine = policy([zone(mask="policy", policy=PolicyConfig(operator="blur", margin=0))])
    (region,) = mine.regions([target(-500, 20, 20, 40)])
    assert region.operator == Blur(6)


def test_overlapping_masks_are_united_under_the_stronger_operator() -> None:
    mine = policy(face=PolicyConfig(operator="pixelate", margin=0), plate=PolicyConfig(margin=0))
    regions = mine.regions([target(20, 20, 60, 60), target(50, 50, 90, 90), target(80, 20, 120, 60, PLATE)])
    assert regions == (Region(EvenRect(20, 20, 120, 90), Solid()),)


def test_solid_masks_stay_as_they_are() -> None:
    assert len(policy().regions([target(20, 20, 60, 60), target(50, 50, 90, 90)])) == 2


@example(400_000, [(0, 0), (2, 1)])
@given(
    width=st.sampled_from([320, 65_534, 65_536, 400_000]),
    corners=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=12),
)
def test_each_solid_mask_is_painted_once_in_its_place(width: int, corners: list[tuple[int, int]]) -> None:
    wide = MaskPolicy(MaskConfig(face=PolicyConfig(margin=0)), width, 200)
    # as many pixels apart as make edges of 16 bits the same
    boxes = [(x * 65_536 % (width - 16), 80 - 2 * y) for x, y in corners]
    regions = wide.regions([target(x, y, x + 12, 100) for x, y in boxes])
    wanted = dict.fromkeys(EvenRect(x, y, x + 12, 100) for x, y in boxes)
    assert [region.shape for region in regions] == list(wanted)


def test_a_grid_over_an_always_zone_becomes_solid_with_it() -> None:
    mine = policy([zone()], face=PolicyConfig(operator="pixelate", margin=0))
    (region,) = mine.regions([target(150, 40, 190, 80)])
    assert region.operator == Solid()
    assert isinstance(region.shape, ChromaMask)
    assert region.shape.cells[30, 94]
    apart = mine.regions([target(200, 40, 240, 80)])
    assert {type(region.operator) for region in apart} == {Solid, Pixelate}


def test_too_many_grids_are_painted_solid() -> None:
    mine = policy(face=PolicyConfig(operator="pixelate", margin=0, min_size=8))
    many = [target(9 * (n % 30), 9 * (n // 30), 9 * (n % 30) + 8, 9 * (n // 30) + 8) for n in range(MANY + 1)]
    assert all(isinstance(region.operator, Solid) for region in mine.regions(many))


policies = st.builds(
    PolicyConfig,
    operator=st.sampled_from(["solid", "pixelate", "blur"]),
    margin=st.floats(0, 0.3),
    min_size=st.just(8),
    cells=st.integers(1, 8),
    resolution=st.integers(1, 8),
)
shares = st.floats(0, 1)
triangles = st.tuples(*[st.tuples(shares, shares)] * 3).filter(
    lambda p: (
        abs((p[1][0] - p[0][0]) * (p[2][1] - p[0][1]) - (p[1][1] - p[0][1]) * (p[2][0] - p[0][0])) > 1e-3
    )
)
zones = st.lists(
    st.builds(
        lambda points, mask, policy: zone(points, mask=mask, policy=policy),
        triangles,
        st.sampled_from(["always", "policy"]),
        policies,
    ),
    max_size=3,
)
targets = st.lists(
    st.builds(
        lambda kind, x, y, w, h: target(x, y, x + w, y + h, kind),
        st.sampled_from(list(ObjectClass)),
        st.floats(-20, WIDTH),
        st.floats(-20, HEIGHT),
        st.floats(1, 80),
        st.floats(1, 80),
    ),
    max_size=7,
)


def picture(seed: int) -> Planes:
    chance = np.random.default_rng(seed)
    rows, columns = SLOT
    return Planes(
        chance.integers(0, 256, (2 * rows, 2 * columns), np.uint8),
        chance.integers(0, 256, SLOT, np.uint8),
        chance.integers(0, 256, SLOT, np.uint8),
    )


@given(zones, targets, policies, policies, policies)
@settings(max_examples=150, deadline=None)
def test_what_lies_under_a_solid_mask_changes_nothing(
    zones: list[ZoneConfig],
    targets: list[Target],
    face: PolicyConfig,
    plate: PolicyConfig,
    head: PolicyConfig,
) -> None:
    """With any mix of operators and zones: no grid near a solid mask carries what is below that mask."""
    mine = policy(zones, face=face, plate=plate, head=head)
    regions = mine.regions(targets)
    solid = painted_cells([region for region in regions if isinstance(region.operator, Solid)], SLOT)
    one, other = picture(1), picture(1)
    for plane, noise in zip(other, picture(2), strict=True):
        under = solid if plane.shape == SLOT else solid.repeat(2, axis=0).repeat(2, axis=1)
        plane[under] = noise[under]
    for planes in (one, other):
        paint(planes, Regions(0, ("d@1",), regions))
    for plane, same in zip(one, other, strict=True):
        assert np.array_equal(plane, same)


@given(zones, targets, policies, policies)
@settings(max_examples=150, deadline=None)
def test_uniting_hides_at_least_as_much_and_no_two_grids_overlap(
    zones: list[ZoneConfig], targets: list[Target], face: PolicyConfig, plate: PolicyConfig
) -> None:
    mine = policy(zones, face=face, plate=plate)
    regions = mine.regions(targets)
    cells = painted_cells(regions, SLOT)
    for target in targets:
        own = mine.policy_of(target)
        if own is None:
            continue
        alone = MaskPolicy(MaskConfig(face=own, plate=own, head=own), WIDTH, HEIGHT).regions([target])
        assert cells[painted_cells(alone, SLOT)].all()
        for region in alone:
            rows, columns = np.nonzero(painted_cells([region], SLOT))
            over = [
                other
                for other in regions
                if painted_cells([other], SLOT)[rows, columns].any()
                and strength(other.operator) >= strength(region.operator)
            ]
            covered = painted_cells(over, SLOT)[rows, columns]
            assert covered.all(), "each object lies under an operator at least as strong as its own"
    for zone_region in policy(zones).regions([]):
        assert cells[painted_cells([zone_region], SLOT)].all()
    grids = [region for region in regions if not isinstance(region.operator, Solid)]
    for at, first in enumerate(grids):
        for second in grids[at + 1 :]:
            bounds_1, bounds_2 = bounds_of(first), bounds_of(second)
            assert bounds_1 is not None
            assert bounds_2 is not None
            assert not bounds_1.overlaps(bounds_2)
