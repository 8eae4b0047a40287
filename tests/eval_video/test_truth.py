"""Truth is exact, the same for the same seed, and nothing in a clip looks like a mask."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from eval_video.conftest import ORDER
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.errors import UsageError
from veil_eval_video.actors import Actor
from veil_eval_video.compose import Post, Scene, frames
from veil_eval_video.cutouts import cut, portrait
from veil_eval_video.degrade import PROFILES, degrade
from veil_eval_video.flat import flat_mask
from veil_eval_video.make import make_clips, props
from veil_eval_video.truth import Truth, read_folder, read_truth
from veil_eval_video.video import read_planes

FLAT = np.full((540, 720, 3), 128, np.uint8)


def _actor(x: float, speed: float = 0.0) -> Actor:
    return Actor(7, portrait(), x, 200.0, 80.0, 0.0, speed, 0.0, 1.0, rests=False)


def _scene(actor: Actor, *posts: Post) -> Scene:
    return Scene(640, 480, FLAT, [actor], posts, PROFILES[0], 1)


def test_the_box_is_where_the_face_was_drawn() -> None:
    # The portrait's own pixels, put back at the truth's place, are what the clip shows there.
    picture, found = next(frames(_scene(_actor(300.0)), 1))
    box = found[0].box
    face = portrait()
    inner = face.box
    skin = face.rgb[int(inner.y0) : int(inner.y1), int(inner.x0) : int(inner.x1)].mean(axis=(0, 1))
    shown = picture[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)].mean(axis=(0, 1))
    lifted = skin * (255 - 24) / 255 + 24
    assert np.abs(shown - lifted).max() < 6
    assert box.width == pytest.approx(80, abs=1)
    assert box.centre[0] == pytest.approx(300, abs=0.5)
    assert found[0].visible > 0.97


def test_what_a_post_or_the_edge_hides_is_less_visible() -> None:
    post = Post(280, 40, (90, 90, 90))
    (_, hidden), (_, cut_off) = (
        next(frames(scene, 1)) for scene in (_scene(_actor(300.0), post), _scene(_actor(0.0)))
    )
    assert hidden[0].visible == pytest.approx(0.5, abs=0.03)
    assert cut_off[0].visible == pytest.approx(0.5, abs=0.03)


def test_objects_keep_their_id_and_move_smoothly(made: tuple[Path, Truth]) -> None:
    _, truth = made
    ways: dict[int, list[Box]] = {}
    for frame in truth.frames:
        for each in frame:
            ways.setdefault(each.track_id, []).append(each.box)
    assert {each.kind for frame in truth.frames for each in frame} == {ObjectClass.FACE, ObjectClass.PLATE}
    for boxes in ways.values():
        for before, after in pairwise(boxes):
            step = np.hypot(*(b - a for a, b in zip(before.centre, after.centre, strict=True)))
            assert step < 0.5 * max(before.width, 8)


def test_the_same_seed_makes_the_same_clip(made: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = made
    again = make_clips(tmp_path, props([], ORDER), ORDER)[0]
    assert again == truth
    assert (tmp_path / truth.clip).read_bytes() == (folder / truth.clip).read_bytes()


def test_truth_comes_back_from_its_file(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    back = read_folder(folder)[0]
    assert [len(frame) for frame in back.frames] == [len(frame) for frame in truth.frames]
    for mine, its in zip(truth.frames[3], back.frames[3], strict=True):
        assert (mine.track_id, mine.kind) == (its.track_id, its.kind)
        assert mine.box.iou(its.box) > 0.98


def test_a_folder_or_file_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no clips"):
        read_folder(tmp_path)
    wrong = tmp_path / "a.truth.json"
    wrong.write_text("{}")
    with pytest.raises(UsageError, match="cannot be read"):
        read_truth(wrong)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_no_camera_makes_black_that_could_be_taken_for_a_mask(profile: object) -> None:
    found = next(each for each in PROFILES if each == profile)
    dark = degrade(np.zeros((48, 64, 3), np.uint8), found, np.random.default_rng(1))
    assert dark.min() >= 24


def test_a_clip_as_it_was_made_has_no_masks(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    assert not any(flat_mask(planes).any() for planes in read_planes(folder / truth.clip))


def test_a_face_at_the_pictures_edge_is_not_cut_out() -> None:
    assert cut(np.zeros((100, 100, 3), np.uint8), Box(0, 20, 40, 70), ObjectClass.FACE) is None
