"""Our own net asked about the classes that nobody labelled in a picture: sure boxes become labels, doubts are
ignored, and the rest is a weak background, so that shop signs and headlamps are seen as what they are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from veil_models.boxes import Array, iou_matrix
from veil_models.dataset import CLASSES, Dataset, Label, Origin, Picture
from veil_models.detect import Detector, letterbox
from veil_models.pack import Pack, Pixels
from veil_models.sampler import PLATE_FREE

SEARCHED = ("plate", "head")
"""Faces have teachers of their own (`veil_models.label`)."""

LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Look:
    """One way of asking."""

    scale: float
    mirrored: bool


LOOKS = (Look(1.0, mirrored=False), Look(1.5, mirrored=True))


@dataclass(frozen=True, slots=True)
class Trust:
    """Scores: from `sure` on in the mean of all looks a box is an object, from `doubt` on in any look it is
    neither object nor background."""

    sure: float
    doubt: float
    same: float = 0.45


TRUST = {"plate": Trust(sure=0.6, doubt=0.3), "head": Trust(sure=0.55, doubt=0.4)}


def mine(pictures: Dataset, pack: Pack, detector: Detector, threads: int = 2) -> list[Picture]:
    """The dataset with what `detector` found of classes that are not labelled; those become `searched`."""

    def one(index: int) -> Picture:
        picture = pictures[index]
        lacking = [name for name in SEARCHED if name not in picture.labelled]
        if picture.source in PLATE_FREE:
            lacking = [name for name in lacking if name != "plate"]
        if not lacking:
            return picture
        answers = [ask(detector, pack.picture(index), look) for look in LOOKS]
        added = [label for name in lacking for label in consensus(answers, name, TRUST[name])]
        return replace(picture, labels=(*picture.labels, *added), searched=frozenset(lacking))

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(len(pictures))))


def ask(detector: Detector, rgb: Pixels, look: Look) -> Array:
    """Rows x1, y1, x2, y2, score, class in pixels of the picture."""
    longest = min(LONGEST, round(max(rgb.shape[:2]) * look.scale))
    seen, ratio = letterbox(rgb, longest)
    if look.mirrored:
        seen = np.ascontiguousarray(seen[:, ::-1])
    found = detector.find(seen, min(trust.doubt for trust in TRUST.values()))
    boxes = found.xyxy.copy()
    if look.mirrored:
        boxes[:, [0, 2]] = seen.shape[1] - boxes[:, [2, 0]]
    rows = [boxes / ratio, found.score[:, None], found.category[:, None]]
    return np.concatenate(rows, 1).astype(np.float32)


def consensus(looks: list[Array], name: str, trust: Trust) -> list[Label]:
    """Labels of one class from several looks: each thing once, with its mean score over all looks."""
    rows = [look[look[:, 5] == CLASSES.index(name), :5] for look in looks]
    source = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    every = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
    order = np.argsort(-every[:, 4], kind="stable")
    every, source = every[order], source[order]
    free = np.ones(len(every), bool)
    labels = []
    for i in range(len(every)):
        if not free[i]:
            continue
        rest = np.flatnonzero(free)
        members = rest[iou_matrix(every[i : i + 1, :4], every[rest, :4])[0] >= trust.same]
        free[members] = False
        if every[i, 4] < trust.doubt:
            continue
        best = [every[members[source[members] == look], 4].max(initial=0.0) for look in range(len(looks))]
        score = float(np.mean(best))
        weight = every[members, 4:5]
        x1, y1, x2, y2 = ((every[members, :4] * weight).sum(0) / weight.sum()).tolist()
        labels.append(
            Label(name, x1, y1, x2 - x1, y2 - y1, Origin.TEACHER, ignore=score < trust.sure, score=score)
        )
    return labels
