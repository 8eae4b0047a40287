"""Alarms: what our net sees where nothing is labelled is drawn more often, as background."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.golden_data import golden_as_data
from veil_models.alarms import alarms_in, find_alarms, load, made_from, save
from veil_models.dataset import CLASSES, Label, Origin, Picture
from veil_models.detect import Found
from veil_models.errors import ModelsError
from veil_models.pack import Pack
from veil_models.sampler import Alarms, Recipe, Sampler
from veil_models.work import Work


class _Fixed:
    """Sees a face, a plate and a head, at fixed places of whatever it is shown."""

    name = "fixed"

    def find(self, rgb: np.ndarray, floor: float) -> Found:
        del rgb, floor
        boxes = np.array([[100, 100, 130, 140], [300, 200, 340, 212], [500, 300, 540, 340]], np.float32)
        return Found(boxes, np.arange(3), np.array([0.6, 0.4, 0.9], np.float32))


def _picture(*labels: Label, source: str = "street", labelled: frozenset[str] = frozenset()) -> Picture:
    return Picture(Path("a.png"), 640, 480, source, labelled, labels)


def _alarming(picture: Picture) -> list[str]:
    found = alarms_in(_Fixed(), picture, np.zeros((480, 640, 3), np.uint8))
    return [CLASSES[int(row[5])] for row in found]


def test_an_answer_where_nothing_is_labelled_is_an_alarm_and_a_head_is_none() -> None:
    assert _alarming(_picture(labelled=frozenset({"face", "plate", "head"}))) == ["face", "plate"]


def test_an_answer_on_a_label_or_a_doubt_of_its_class_is_none() -> None:
    face = Label("face", 101, 101, 30, 40)
    plate = Label("plate", 296, 198, 40, 12, ignore=True)
    everything = frozenset({"face", "plate"})
    assert _alarming(_picture(face, plate, labelled=everything)) == []
    other = Label("face", 300, 200, 40, 12)
    assert _alarming(_picture(face, other, labelled=everything)) == ["plate"]


def test_in_what_people_left_out_nobody_can_say_that_it_is_wrong() -> None:
    everything = frozenset({"face", "plate"})
    crowd = Label("face", 0, 0, 200, 200, ignore=True)
    assert _alarming(_picture(crowd, labelled=everything)) == ["plate"]
    doubt = Label("face", 0, 0, 200, 200, Origin.TEACHER, ignore=True)
    assert _alarming(_picture(doubt, labelled=everything)) == ["face", "plate"]


def test_of_the_smallest_nobody_can_say_that_they_are_no_faces() -> None:
    class Small(_Fixed):
        def find(self, rgb: np.ndarray, floor: float) -> Found:
            found = super().find(rgb, floor)
            return Found(found.xyxy * 0.3, found.category, found.score)

    found = alarms_in(
        Small(), _picture(labelled=frozenset({"face", "plate"})), np.zeros((480, 640, 3), np.uint8)
    )
    assert [CLASSES[int(row[5])] for row in found] == ["plate"]


def test_where_nobody_looked_for_a_class_nothing_is_known_to_be_wrong() -> None:
    assert _alarming(_picture()) == ["face"]  # teachers looked for faces everywhere
    assert _alarming(_picture(source="indoor")) == ["face", "plate"]  # no plates there


def _black(count: int) -> Pack:
    shape = np.tile(np.array([[480, 640]], np.int64), (count, 1))
    size = 480 * 640 * 3
    return Pack(np.zeros(count * size, np.uint8), np.arange(count) * size, shape)


def _marked(count: int, at: int, x: int, y: int) -> Pack:
    """Black pictures, one with a white mark of 24 pixels."""
    pack = _black(count)
    pack.picture(at)[y : y + 24, x : x + 24] = 255
    return pack


def test_every_crop_around_an_alarm_shows_it() -> None:
    pictures = [_picture(Label("face", 20, 20, 40, 40)) for _ in range(3)]
    pack = _marked(3, 1, 400, 300)
    alarms = Alarms(np.array([1]), np.array([[400, 300, 424, 324]], np.float32), np.array([0.4], np.float32))
    sampler = Sampler(pictures, pack, Recipe(size=192, alarms=1.0), alarms)
    for seed in range(40):
        pixels, _, _ = sampler.crop(np.random.default_rng(seed), 192, 192)
        lit = float((pixels.max(2) > 128).sum())
        assert lit > 0.5 * (0.6 * 24) ** 2, seed


def test_alarms_are_a_share_of_the_crops_and_sure_ones_come_more_often() -> None:
    pictures = [_picture() for _ in range(3)]
    box = np.array([[400, 300, 424, 324]] * 2, np.float32)
    alarms = Alarms(np.array([1, 2]), box, np.array([0.2, 0.8], np.float32))
    sampler = Sampler(pictures, _black(3), Recipe(alarms=0.25), alarms)
    rng = np.random.default_rng(0)
    drawn = [sampler.draw_alarm(rng) for _ in range(2000)]
    hits = [found[0] for found in drawn if found is not None]
    assert 0.2 < len(hits) / len(drawn) < 0.3
    assert hits.count(2) > 8 * hits.count(1) > 0


def test_batches_depend_on_the_seed_and_their_number_alone() -> None:
    pictures = [_picture(Label("face", 20, 20, 40, 40)) for _ in range(3)]
    alarms = Alarms(np.array([1]), np.array([[400, 300, 424, 324]], np.float32), np.array([0.4], np.float32))
    recipe = Recipe(size=128, batch=4, seed=3)

    def batch(number: int, known: Alarms | None) -> dict[str, np.ndarray]:
        return next(Sampler(pictures, _marked(3, 1, 400, 300), recipe, known).batches(number))

    for known in (None, alarms):
        stream = Sampler(pictures, _marked(3, 1, 400, 300), recipe, known).batches(5)
        next(stream)
        for name, value in next(stream).items():
            np.testing.assert_array_equal(value, batch(6, known)[name])
    first, second = (
        Sampler(pictures, _marked(3, 1, 400, 300), recipe, alarms).batches(5 + worker, 2) for worker in (0, 1)
    )
    for number, stream in enumerate((first, second, first, second), 5):
        for name, value in next(stream).items():
            np.testing.assert_array_equal(value, batch(number, alarms)[name])
    nothing = Alarms(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    for name, value in batch(6, nothing).items():
        np.testing.assert_array_equal(value, batch(6, None)[name])


def test_alarms_of_a_data_set_are_found_by_several_processes_and_survive_the_file(tmp_path: Path) -> None:
    """The released net on its golden pictures without their labels: all it sees is wrong there."""
    bundle = Path(__file__).parents[2] / "models" / "bundles" / "veil-s"
    pictures = golden_as_data(tmp_path, bundle, frozenset({"face", "plate"}))
    work = Work(tmp_path, tmp_path / "work")
    found = find_alarms(work, bundle)
    assert set(found.picture.tolist()) == set(range(len(pictures)))
    trained_on = work.training()[0]
    save(found, trained_on, work, made_from(trained_on, work, bundle))
    for name in ("picture", "xyxy", "score"):
        np.testing.assert_array_equal(getattr(load(trained_on, work), name), getattr(found, name))
    # Of other data, in another order, each alarm keeps its picture or is left out with it.
    others = [*trained_on[:0:-1], dataclasses.replace(trained_on[0], path=tmp_path / "images" / "new.png")]
    kept = load(others, work)
    assert len(kept.picture) == (found.picture > 0).sum() > 0
    assert [others[i].path for i in kept.picture] == [trained_on[i].path for i in found.picture if i > 0]
    np.testing.assert_array_equal(kept.xyxy, found.xyxy[found.picture > 0])


def test_in_a_mosaic_too_what_our_net_searched_is_a_weak_background_and_what_nobody_saw_none() -> None:
    def weights(picture: Picture) -> tuple[set[float], ...]:
        sampler = Sampler([picture], _black(1), Recipe(size=128, mosaic=1.0))
        targets = [sampler.example(np.random.default_rng(seed))[1] for seed in range(8)]
        return tuple({round(float(w), 2) for t in targets for w in t.weight[kind]} for kind in range(3))

    searched = dataclasses.replace(_picture(labelled=frozenset({"head"})), searched=frozenset({"plate"}))
    assert weights(searched) == ({1.0}, {0.5}, {1.0})
    assert weights(_picture()) == ({1.0}, {0.0}, {0.0})
    # What is there counts in full, and what is ignored not at all.
    plates = (Label("plate", 60, 60, 400, 300), Label("plate", 500, 60, 100, 300, ignore=True))
    assert weights(dataclasses.replace(searched, labels=plates))[1] == {0.0, 0.5, 1.0}


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"size": 64}, "--size a multiple of 32 from 128"),
        ({"size": 400}, "--size a multiple of 32"),
        ({"batch": 0}, "--batch 1 or more"),
        ({"mosaic": 1.5}, "--mosaic a number from 0 to 1"),
        ({"alarms": -0.1}, "--alarms a number from 0 to 1"),
    ],
)
def test_a_recipe_that_nothing_can_be_made_of_is_refused(wrong: dict[str, int], hint: str) -> None:
    with pytest.raises(ModelsError, match=hint):
        Recipe(**wrong)


def test_the_smallest_crops_can_be_made() -> None:
    for mosaic in (0.0, 1.0):
        sampler = Sampler([_picture()], _black(1), Recipe(size=128, batch=2, mosaic=mosaic, alarms=0.0))
        assert next(sampler.batches(0))["image"].shape == (2, 3, 128, 128)
