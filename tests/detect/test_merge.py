"""Merging: one object once, nothing lost, nothing smaller than it was seen."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from veil.detect.decode import Found
from veil.detect.merge import Seen, merge
from veil.detect.schedule import Tile

LEFT, RIGHT = Tile(0, 0, 0, 640, 384), Tile(1, 576, 0, 1216, 384)
FRAME = (1920, 1080)
Row = tuple[float, float, float, float, float, int]


def seen(tile: Tile | None, *rows: Row) -> Seen:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Seen(
        Found(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.intp)),
        tile,
    )


def boxes(found: Found) -> list[list[float]]:
    return sorted(found.boxes.tolist())


def test_one_object_in_two_looks_is_one_object() -> None:
    found = merge([seen(None, (100, 100, 160, 180, 0.4, 0)), seen(LEFT, (102, 98, 158, 182, 0.9, 0))], *FRAME)
    assert boxes(found) == [[100, 98, 160, 182]]
    assert found.scores.tolist() == [np.float32(0.9)]


def test_two_parts_of_a_plate_cut_by_neighbouring_tiles_are_one_plate() -> None:
    found = merge(
        [seen(LEFT, (500, 200, 640, 240, 0.6, 1)), seen(RIGHT, (576, 201, 760, 241, 0.5, 1))], *FRAME
    )
    assert boxes(found) == [[500, 200, 760, 241]]


def test_a_cut_part_joins_the_whole_frame_s_box() -> None:
    found = merge(
        [seen(None, (480, 100, 800, 360, 0.5, 0)), seen(LEFT, (490, 110, 640, 370, 0.8, 0))], *FRAME
    )
    assert boxes(found) == [[480, 100, 800, 370]]


def test_neighbours_that_merely_touch_stay_two() -> None:
    found = merge(
        [seen(None, (100, 100, 160, 180, 0.4, 0)), seen(LEFT, (150, 100, 210, 180, 0.9, 0))], *FRAME
    )
    assert len(found) == 2


def test_a_face_and_a_head_in_one_place_stay_two() -> None:
    found = merge(
        [seen(None, (100, 100, 160, 180, 0.4, 0)), seen(LEFT, (100, 100, 160, 180, 0.9, 2))], *FRAME
    )
    assert sorted(found.labels.tolist()) == [0, 2]


def test_boxes_of_one_look_are_left_as_they_are() -> None:
    rows: tuple[Row, ...] = ((100, 100, 160, 180, 0.4, 0), (110, 100, 170, 180, 0.9, 0))
    assert len(merge([seen(None, *rows)], *FRAME)) == 2
    assert len(merge([seen(None, *rows), seen(LEFT, (400, 100, 460, 180, 0.9, 0))], *FRAME)) == 3


def test_the_frame_s_own_edge_cuts_nothing() -> None:
    part = (0, 100, 60, 180, 0.5, 0)  # at the frame's left edge, of which the tile's is a part
    beside = (20, 100, 100, 180, 0.5, 0)
    assert len(merge([seen(LEFT, part), seen(None, beside)], *FRAME)) == 2


def test_nothing_seen_is_nothing() -> None:
    assert len(merge([seen(None), seen(LEFT)], *FRAME)) == 0


side = st.integers(-20, 1200)
length = st.integers(1, 300)
row = st.tuples(
    side, st.integers(-20, 380), length, length, st.floats(0.0625, 1, width=32), st.integers(0, 2)
)


@st.composite
def looks(draw: st.DrawFn) -> list[Seen]:
    result = []
    for tile in (None, LEFT, RIGHT):
        rows = draw(st.lists(row, max_size=8))
        result.append(seen(tile, *((x, y, x + w, y + h, score, kind) for x, y, w, h, score, kind in rows)))
    return result


@given(looks())
def test_nothing_disappears_and_nothing_shrinks(looks: list[Seen]) -> None:
    merged = merge(looks, *FRAME)
    for look in looks:
        for box, score, label in zip(look.found.boxes, look.found.scores, look.found.labels, strict=True):
            within = (
                (merged.boxes[:, :2] <= box[:2]).all(axis=1)
                & (merged.boxes[:, 2:] >= box[2:]).all(axis=1)
                & (merged.labels == label)
                & (merged.scores >= score)
            )
            assert within.any()


@given(looks())
def test_nothing_is_invented(looks: list[Seen]) -> None:
    merged = merge(looks, *FRAME)
    assert len(merged) <= sum(len(look.found) for look in looks)
    for kind in range(3):
        inputs = [look.found.boxes[look.found.labels == kind] for look in looks]
        every = np.concatenate(inputs)
        mine = merged.boxes[merged.labels == kind]
        assert (len(every) == 0) == (len(mine) == 0)
        if len(every):
            assert set(mine.reshape(-1).tolist()) <= set(every.reshape(-1).tolist())
            assert merged.scores[merged.labels == kind].max() == max(
                look.found.scores[look.found.labels == kind].max(initial=0) for look in looks
            )


@given(looks())
def test_the_order_of_tiles_does_not_matter(looks: list[Seen]) -> None:
    assert boxes(merge(looks, *FRAME)) == boxes(merge(looks[::-1], *FRAME))


def test_a_scene_full_of_boxes_loses_nothing() -> None:
    grid = [(x, y) for x in range(0, 1200, 24) for y in range(0, 384, 8)]
    rows = [(x, y, x + 48, y + 16, 0.5, 0) for x, y in grid]
    looks = [seen(None, *rows), seen(LEFT, *((x + 1, y + 1, u, v, s, k) for x, y, u, v, s, k in rows))]
    merged = merge(looks, *FRAME)
    for look in looks:
        for box in look.found.boxes[::50]:
            assert ((merged.boxes[:, :2] <= box[:2]) & (merged.boxes[:, 2:] >= box[2:])).all(axis=1).any()


def test_beyond_the_bound_on_pairs_boxes_are_passed_on_as_they_are() -> None:
    rows = [(0, 0, 600, 380, 0.5, 0)] * 600
    merged = merge([seen(None, *rows), seen(LEFT, *rows)], *FRAME)
    assert len(merged) == 1200


def test_a_sure_face_is_not_blown_up_by_a_weak_huge_box() -> None:
    face, huge = (300, 200, 337, 250, 0.84, 0), (40, 10, 660, 747, 0.05, 0)
    found = merge([seen(None, huge), seen(LEFT, face)], *FRAME)
    assert boxes(found) == [list(huge[:4]), list(face[:4])]
