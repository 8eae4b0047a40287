"""Fusing looks: agreement makes a face, a lone voice a doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veil_models.dataset import Label, Origin, Picture
from veil_models.fuse import Fusion, fuse, relabel
from veil_models.label import VIEWS, views_for

PICTURE = Picture(Path("x.avif"), 640, 480, "street", frozenset())
VIEWS_HERE = views_for(PICTURE)


def rows(*said: tuple[int, float, float]) -> np.ndarray:
    """One 40 px face at (x, 100) for each (view, x, score)."""
    return np.array([[v, x, 100, x + 40, 140, s] for v, x, s in said], np.float32)


def test_all_views_agreeing_give_their_score() -> None:
    (face,) = fuse(rows(*[(VIEWS.index(v), 100, 0.8) for v in VIEWS_HERE]), VIEWS_HERE, 0.45)
    np.testing.assert_allclose(face, [100, 100, 140, 140, 0.8], atol=1e-4)


def test_one_view_alone_is_a_doubt() -> None:
    (face,) = fuse(rows((0, 100, 0.8)), VIEWS_HERE, 0.45)
    assert face[4] < 0.3


def test_two_faces_side_by_side_stay_two() -> None:
    assert len(fuse(rows((0, 100, 0.8), (0, 150, 0.7), (4, 101, 0.6)), VIEWS_HERE, 0.45)) == 2


def test_peoples_boxes_stay_and_silence_the_teachers_there() -> None:
    human = Label("face", 98, 98, 44, 44)
    plate = Label("plate", 0, 0, 30, 10)
    old = Label("face", 300, 300, 20, 20, Origin.TEACHER, ignore=True)
    picture = Picture(Path("x.avif"), 640, 480, "maskstreet", frozenset({"face"}), (human, plate, old))
    new = relabel(picture, rows((0, 100, 0.9), (4, 100, 0.9), (0, 400, 0.9), (4, 400, 0.9)), Fusion())
    assert new.labels[:2] == (human, plate)
    assert [round(b.x) for b in new.labels[2:]] == [400]
    assert not new.labels[2].ignore


def test_what_people_left_out_stays_left_out_and_silences_the_teachers_there() -> None:
    crowd = Label("face", 80, 80, 200, 100, ignore=True)
    picture = Picture(Path("x.avif"), 640, 480, "wider", frozenset({"face"}), (crowd,))
    new = relabel(picture, rows((0, 100, 0.9), (4, 100, 0.9), (0, 400, 0.9), (4, 400, 0.9)), Fusion())
    assert new.labels[0] == crowd
    assert [round(b.x) for b in new.labels[1:]] == [400]


def test_heads_called_faces_become_heads() -> None:
    human = Label("face", 90, 60, 60, 90)
    picture = Picture(Path("x.avif"), 640, 480, "portraits", frozenset({"face"}), (human,))
    new = relabel(picture, rows((0, 100, 0.9), (4, 100, 0.9)), Fusion())
    assert [b.category for b in new.labels] == ["head", "face"]
    assert new.labelled == frozenset()
