"""Targets: every object has a cell, ignore regions and unlabelled classes have no say."""

from __future__ import annotations

import numpy as np
import pytest

from veil_models.assign import FACE, HEAD, PLATE, Boxes, Targets, assign, cell_count

SIZE = 256
ALL = np.ones(3, np.float32)


def boxes(*rows: tuple[float, float, float, float, int, float, float]) -> Boxes:
    data = np.array(rows, np.float32).reshape(-1, 7)
    return Boxes(data[:, :4], data[:, 4].astype(np.int64), data[:, 5], data[:, 6])


def strides_used(targets: Targets) -> set[int]:
    bounds = {8: (0, 1024), 16: (1024, 1280), 32: (1280, 1344)}
    return {s for s, (a, b) in bounds.items() if ((targets.cell >= a) & (targets.cell < b)).any()}


@pytest.mark.parametrize("side", [6, 8, 13, 40, 60, 110, 150, 250])
def test_every_object_has_at_least_one_cell(side: float) -> None:
    for shift in np.linspace(0, 8, 9):
        x = float(min(1.0 + shift, SIZE - side))
        targets = assign(boxes((x, x, x + side, x + side, FACE, 1, 1)), ALL, SIZE)
        assert len(targets.cell) >= 1


def test_small_faces_lie_on_the_fine_grid_and_large_ones_on_the_coarse() -> None:
    assert strides_used(assign(boxes((10, 10, 20, 20, FACE, 1, 1)), ALL, SIZE)) == {8}
    assert strides_used(assign(boxes((10, 10, 80, 80, FACE, 1, 1)), ALL, SIZE)) == {16}
    assert strides_used(assign(boxes((10, 10, 240, 240, FACE, 1, 1)), ALL, SIZE)) == {32}


def test_an_ignore_region_takes_its_cells_out_of_the_loss_for_its_class_alone() -> None:
    targets = assign(boxes((0, 0, 64, 64, FACE, 1, 0)), ALL, SIZE)
    assert targets.weight[FACE, 0] == 0
    assert targets.weight[PLATE, 0] == 1
    assert len(targets.cell) == 0


def test_an_object_inside_an_ignore_region_still_counts() -> None:
    targets = assign(boxes((0, 0, 64, 64, FACE, 1, 0), (20, 20, 36, 36, FACE, 1, 1)), ALL, SIZE)
    assert (targets.weight[targets.category, targets.cell] == 1).all()


def test_a_class_nobody_looked_for_is_no_background() -> None:
    targets = assign(boxes(), np.array([1, 0, 0.3], np.float32), SIZE)
    assert (targets.weight[PLATE] == 0).all()
    np.testing.assert_allclose(targets.weight[HEAD], 0.3)


def test_doubts_give_way_to_sure_objects_even_when_smaller() -> None:
    sure, doubt = (40, 40, 70, 70, FACE, 1, 1), (50, 50, 60, 60, FACE, 0.2, 0.5)
    targets = assign(boxes(doubt, sure), ALL, SIZE)
    assert (targets.xyxy[:, 0] == 40).any()
    cell_of_both = targets.cell[targets.xyxy[:, 0] == 40]
    assert (targets.score[FACE, cell_of_both] == 1).all()


def test_count_of_cells() -> None:
    assert cell_count(SIZE) == 32 * 32 + 16 * 16 + 8 * 8
