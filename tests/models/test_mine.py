"""Mining: what our net is sure of becomes a label, its doubts are ignored, the rest is weak background."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.golden_data import golden_as_data
from veil_models.dataset import CLASSES, Label, Origin, Picture
from veil_models.detect import Found
from veil_models.fuse import Fusion
from veil_models.looks import Look, ask
from veil_models.mine import TRUST, Miner, consensus, mine, misplaced, overlooked
from veil_models.readers.coco import read_coco
from veil_models.readers.coco_out import write_coco
from veil_models.refine import OWN, RAISED, confidences, taught
from veil_models.sampler import SEARCHED_BACKGROUND, background_of
from veil_models.work import Work

PLATE = CLASSES.index("plate")


def _row(score: float, x: float = 10.0) -> np.ndarray:
    return np.array([[x, 20, x + 40, 32, score, PLATE]], np.float32)


def test_what_all_looks_are_sure_of_is_a_label() -> None:
    (label,) = consensus([_row(0.9), _row(0.7, 11.0)], "plate", TRUST["plate"])
    assert not label.ignore
    assert abs(label.score - 0.8) < 1e-6


def test_what_one_look_alone_sees_is_ignored() -> None:
    (label,) = consensus([_row(0.9), np.zeros((0, 6), np.float32)], "plate", TRUST["plate"])
    assert label.ignore


def test_what_hardly_scores_is_background() -> None:
    assert consensus([_row(0.1), _row(0.1)], "plate", TRUST["plate"]) == []


def test_a_searched_class_is_a_weak_background_and_survives_the_file(tmp_path: Path) -> None:
    searched = frozenset({"plate"})
    picture = Picture(
        tmp_path / "images" / "a.png",
        64,
        48,
        "street",
        frozenset({"face"}),
        (Label("face", 1, 2, 9, 9),),
        searched,
    )
    write_coco([picture], tmp_path / "train.json.gz", tmp_path)
    (read,) = read_coco(tmp_path / "train.json.gz")
    assert read == picture
    assert background_of(read).tolist() == [1.0, np.float32(SEARCHED_BACKGROUND), 0.0]


class _Fixed:
    """Sees one plate at a fixed place of whatever it is shown."""

    name = "fixed"

    def find(self, rgb: np.ndarray, floor: float) -> Found:
        del rgb, floor
        return Found(np.array([[10, 20, 50, 32]], np.float32), np.array([PLATE]), np.array([0.9], np.float32))


class _Face(_Fixed):
    """Sees one face there."""

    def find(self, rgb: np.ndarray, floor: float) -> Found:
        found = super().find(rgb, floor)
        return Found(np.array([[10, 20, 50, 70]], np.float32), np.array([0]), found.score)


def test_answers_come_back_in_pixels_of_the_picture() -> None:
    rgb = np.zeros((100, 200, 3), np.uint8)
    (plain,) = ask(_Fixed(), rgb, Look(1.0, mirrored=False), 0.1)
    (turned,) = ask(_Fixed(), rgb, Look(1.5, mirrored=True), 0.1)
    np.testing.assert_allclose(plain[:4], [10, 20, 50, 32])
    np.testing.assert_allclose(
        turned[:4], [(300 - 50) / 1.5, 20 / 1.5, (300 - 10) / 1.5, 32 / 1.5], rtol=1e-5
    )


def _picture(source: str, *labels: Label, labelled: frozenset[str] = frozenset()) -> Picture:
    return Picture(Path("a.png"), 640, 480, source, labelled, labels)


def test_a_plate_that_people_missed_is_ignored_and_theirs_are_kept() -> None:
    drawn = Label("plate", 12, 20, 40, 12)
    picture = _picture("openstreet", drawn, labelled=frozenset({"plate"}))
    found = [np.concatenate([_row(0.9), _row(0.8, 300.0), _row(0.45, 500.0)])] * 2
    (missed,) = overlooked(found, picture)
    assert missed.ignore
    assert round(missed.x) == 300


def test_a_box_of_peoples_where_nothing_is_seen_is_ignored() -> None:
    on, off = Label("plate", 12, 20, 40, 12), Label("plate", 300, 20, 40, 12)
    face = Label("face", 300, 20, 40, 12)
    labels = misplaced([_row(0.3), _row(0.3)], _picture("carplates", on, off, face))
    assert [label.ignore for label in labels] == [False, True, False]


def _face(x: float, score: float) -> np.ndarray:
    return np.array([[x, 20, x + 40, 70, score, CLASSES.index("face")]], np.float32)


NOTHING = np.zeros((0, 6), np.float32)
LOOKS = (Look(1.0, mirrored=False), Look(1.5, mirrored=True))


def test_a_face_that_we_and_the_teachers_see_is_surer_than_what_one_of_both_sees() -> None:
    teacher = Label("face", 11, 20, 40, 50, Origin.TEACHER, score=0.8)
    alone = Label("face", 500, 20, 40, 50, Origin.TEACHER, score=0.8)
    answers = [np.concatenate([_face(10, 0.9), _face(300, 0.9)])] * 2
    found = confidences(LOOKS, answers, _picture("street", teacher, alone), 0.45)
    by_place = {round(float(row[0]) / 100): float(row[4]) for row in found}
    assert by_place[0] > by_place[3] > by_place[5] > 0


def test_where_no_teacher_was_asked_our_net_alone_makes_the_confidence() -> None:
    """A set whose teachers never said anything, as a user's own: not half a doubt for each face."""
    answers = [np.concatenate([_face(10, 1.0)])] * 2
    (alone,) = confidences(LOOKS, answers, _picture("x"), 0.45, 1.0)
    assert alone[4] == np.float32(1 / RAISED)
    asked = _picture("street", Label("face", 300, 20, 40, 50, Origin.TEACHER, score=0.8))
    silent = _picture("street")
    assert taught([asked, silent, _picture("x")]) == {"street"}
    rgb = np.zeros((480, 640, 3), np.uint8)
    scores = {}
    for source in ("street", "x"):
        mined = Miner(_Face(), Fusion(), frozenset({"street"})).mine(_picture(source), rgb)
        scores[source] = max(label.score for label in mined.labels if label.category == "face")
    assert abs(scores["street"] - OWN * scores["x"]) < 1e-6


def test_what_people_left_out_stays_and_nothing_is_mined_there() -> None:
    faces, plates = (Label(name, 0, 0, 640, 480, ignore=True) for name in ("face", "plate"))
    picture, rgb = _picture("street", faces, plates), np.zeros((480, 640, 3), np.uint8)
    assert Miner(_Fixed(), Fusion()).mine(picture, rgb).labels == (faces, plates)
    assert Miner(_Face(), Fusion()).mine(picture, rgb).labels == (faces, plates)
    assert len(Miner(_Fixed()).mine(_picture("street", faces), rgb).labels) > 1


def test_what_two_faces_side_by_side_score_is_not_mixed() -> None:
    found = confidences(
        LOOKS, [np.concatenate([_face(10, 0.9), _face(60, 0.4)]), NOTHING], _picture("x"), 0.45
    )
    assert len(found) == 2


def test_faces_are_drawn_anew_only_when_asked() -> None:
    old = Label("face", 200, 100, 30, 30, Origin.TEACHER, ignore=True, score=0.3)
    picture, rgb = _picture("street", old), np.zeros((480, 640, 3), np.uint8)
    kept = Miner(_Fixed()).mine(picture, rgb)
    anew = Miner(_Fixed(), Fusion()).mine(picture, rgb)
    assert old in kept.labels
    assert [label.category for label in anew.labels if label.category == "face"] == []
    assert kept.searched == anew.searched == frozenset({"plate", "head"})


def test_a_folder_of_pictures_is_mined_by_several_processes(tmp_path: Path) -> None:
    """The golden pictures as a data set: the released net finds its own faces and plates there again."""
    bundle = Path(__file__).parents[2] / "models" / "bundles" / "veil-s"
    pictures = golden_as_data(tmp_path, bundle, frozenset())
    mined = mine(Work(tmp_path, tmp_path / "work"), bundle, Fusion())
    assert [picture.path.name for picture in mined] == [picture.path.name for picture in pictures]
    found = {label.category for picture in mined for label in picture.labels if not label.ignore}
    assert {"face", "plate"} <= found
