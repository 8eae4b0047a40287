"""Mining: what our net is sure of becomes a label, its doubts are ignored, the rest is weak background."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from veil_models.dataset import CLASSES, Label, Picture
from veil_models.detect import Found
from veil_models.mine import TRUST, Look, ask, consensus
from veil_models.readers.coco import read_coco
from veil_models.readers.coco_out import write_coco
from veil_models.sampler import SEARCHED_BACKGROUND, background_of

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


def test_answers_come_back_in_pixels_of_the_picture() -> None:
    rgb = np.zeros((100, 200, 3), np.uint8)
    (plain,) = ask(_Fixed(), rgb, Look(1.0, mirrored=False))
    (turned,) = ask(_Fixed(), rgb, Look(1.5, mirrored=True))
    np.testing.assert_allclose(plain[:4], [10, 20, 50, 32])
    np.testing.assert_allclose(
        turned[:4], [(300 - 50) / 1.5, 20 / 1.5, (300 - 10) / 1.5, 32 / 1.5], rtol=1e-5
    )
