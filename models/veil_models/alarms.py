"""Where our own net sees a face or a plate and there is none: what it is shown more often."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from veil_models.boxes import Array, centred_in, iou_matrix
from veil_models.dataset import CLASSES, Dataset, Origin, Picture
from veil_models.detect import Detector, OnnxDetector
from veil_models.errors import ModelsError
from veil_models.looks import Look, ask
from veil_models.made import digest_of_net, name_of, put
from veil_models.pack import Pack, Pixels
from veil_models.sampler import Alarms, background_of
from veil_models.work import Work

FLOOR = {"face": 0.15, "plate": 0.12}
"""Scores from which a wrong answer counts; heads only help a face and mask nothing."""
LEAST = {"face": 16.0, "plate": 0.0}
"""Longer sides in pixels: of what is smaller in a crowd nobody can say that it is no face."""
CLEAR = 0.1
"""An alarm overlaps nothing that is labelled, doubts included, by more than this IoU."""
LOOK = Look(1.0, mirrored=False)


def _names(pictures: Dataset, data: Path) -> list[str]:
    return [name_of(picture, data) for picture in pictures]


def made_from(pictures: Dataset, work: Work, bundle: Path) -> dict[str, str]:
    """What the alarms of `bundle` in `pictures`, those that are trained on, depend on."""
    return {"labels": work.digest(pictures), "net": digest_of_net(bundle)}


def save(alarms: Alarms, pictures: Dataset, work: Work, made: Mapping[str, str]) -> None:
    """Write them down with the names of their pictures; `made` as `made_from` has it."""
    names = np.array(_names(pictures, work.data), str)

    def fill(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez_compressed(stream, name=names[alarms.picture], xyxy=alarms.xyxy, score=alarms.score)

    put(work.alarms, made, fill)


def load(pictures: Dataset, work: Work) -> Alarms:
    """Read what `save` wrote, for `pictures`: others than those it was written for, perhaps. What lies in
    pictures that are not there any more is left out. Raises ModelsError where a file of an earlier version
    does not name them."""
    with np.load(work.alarms, allow_pickle=False) as stored:
        if "name" not in stored:
            raise ModelsError(f"{work.alarms} is of an earlier version: delete it and run alarms again.")
        names, xyxy, score = (stored[key] for key in ("name", "xyxy", "score"))
    place = {name: index for index, name in enumerate(_names(pictures, work.data))}
    picture = np.array([place.get(str(name), -1) for name in names], np.int64)
    there = picture >= 0
    return Alarms(picture[there], xyxy[there], score[there])


def alarms_in(detector: Detector, picture: Picture, rgb: Pixels) -> Array:
    """Rows x1, y1, x2, y2, score, class of the wrong answers in one picture, where nothing counts as
    background for that class."""
    found = ask(detector, rgb, LOOK, min(FLOOR.values()))
    background = background_of(picture)
    known = np.array([(b.x, b.y, b.x + b.w, b.y + b.h) for b in picture.labels], np.float32).reshape(-1, 4)
    of = np.array([CLASSES.index(b.category) for b in picture.labels], np.int64)
    unclear = np.array([b.ignore and b.origin is Origin.HUMAN for b in picture.labels], bool)
    wrong = []
    for name, floor in FLOOR.items():
        category = CLASSES.index(name)
        if background[category] == 0:
            continue
        longest = (found[:, 2:4] - found[:, :2]).max(1, initial=0.0)
        rows = found[(found[:, 5] == category) & (found[:, 4] >= floor) & (longest >= LEAST[name])]
        touched = iou_matrix(rows[:, :4], known[of == category]).max(1, initial=0.0)
        left_out = centred_in(rows[:, :4], known[unclear & (of == category)])
        wrong.append(rows[(touched < CLEAR) & ~left_out])
    return np.concatenate([np.zeros((0, 6), np.float32), *wrong])


@functools.cache
def _opened(work: Work, bundle: Path) -> tuple[Detector, Dataset, Pack]:
    """Once a process."""
    return OnnxDetector(bundle.name, bundle / "model.onnx"), *work.training()


def _one(work: Work, bundle: Path, index: int) -> Array:
    detector, pictures, pack = _opened(work, bundle)
    return alarms_in(detector, pictures[index], pack.picture(index))


def find_alarms(work: Work, bundle: Path, processes: int = 2) -> Alarms:
    """The wrong answers of `bundle` in everything that is trained on, on several processes."""
    count = len(work.training()[0])
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        each = list(pool.map(functools.partial(_one, work, bundle), range(count), chunksize=50))
    rows = np.concatenate([np.zeros((0, 6), np.float32), *each])
    picture = np.repeat(np.arange(count), [len(found) for found in each])
    return Alarms(picture, rows[:, :4], rows[:, 4])
