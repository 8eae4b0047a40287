"""Our own net asked about the classes that nobody labelled in a picture: sure boxes become labels, doubts are
ignored, and the rest is a weak background, so that shop signs and headlamps are seen as what they are not."""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from veil_models.boxes import Array, centred_in, clusters, iou_matrix
from veil_models.dataset import CLASSES, Dataset, Label, Origin, Picture
from veil_models.detect import Detector, OnnxDetector
from veil_models.errors import ModelsError
from veil_models.fuse import Fusion, with_faces
from veil_models.looks import Look, ask
from veil_models.made import digest_of_net
from veil_models.pack import Pack, Pixels
from veil_models.refine import OWN, confidences, taught
from veil_models.sampler import PLATE_FREE
from veil_models.work import Work

SEARCHED = ("plate", "head")
"""Faces have teachers of their own (`veil_models.label`)."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Scores in the mean of all looks: from `sure` on a box is an object, from `doubt` on neither object nor
    background. A box that scores less than `asked` in each look is not considered."""

    sure: float
    doubt: float
    asked: float
    same: float = 0.45


OVERLOOKED = frozenset({"openstreet", "carplates", "smallplates"})
"""Sets whose people missed plates, seen by eye: what our net is sure of there is ignored, not background."""

OVERLOOKED_SCORE = 0.5

MISPLACED = frozenset({"carplates", "smallplates"})
"""Sets of large plates where some boxes lie on nothing (pictures were mirrored or turned without them): a box
where our net sees nothing at all is ignored."""

TRUST = {"plate": Trust(sure=0.6, doubt=0.35, asked=0.3), "head": Trust(sure=0.55, doubt=0.2, asked=0.4)}


LOOKS = (Look(1.0, mirrored=False), Look(1.5, mirrored=True))
FACE_LOOK = Look(0.6, mirrored=True)
"""One more where faces are asked for: what is large in a picture is seen best in a small one."""

FACE_FLOOR = 0.2
FLOOR = min(trust.asked for trust in TRUST.values())


class Miner:
    """Adds to pictures what a detector of ours sees of the classes that are not labelled there; those become
    `searched`.

    Args:
        faces: also draw anew every face that a teacher drew (`veil_models.refine`), fused so.
        taught: the sources that teachers looked through (`refine.taught`); elsewhere ours alone counts.
    """

    def __init__(
        self, detector: Detector, faces: Fusion | None = None, taught: frozenset[str] = frozenset()
    ) -> None:
        self._detector = detector
        self._faces = faces
        self._taught = taught

    def mine(self, picture: Picture, rgb: Pixels) -> Picture:
        """One picture."""
        lacking = [name for name in SEARCHED if name not in picture.labelled]
        if picture.source in PLATE_FREE:
            lacking = [name for name in lacking if name != "plate"]
        looks = LOOKS if self._faces is None else (*LOOKS, FACE_LOOK)
        floor = FLOOR if self._faces is None else FACE_FLOOR
        answers = [ask(self._detector, rgb, look, floor) for look in looks]
        mined = answers[: len(LOOKS)]
        found = [
            label
            for name in lacking
            for label in consensus(mined, name, TRUST[name])
            if not _left_out(label, picture)
        ]
        if picture.source in OVERLOOKED:
            found += overlooked(mined, picture)
        if picture.source in MISPLACED:
            picture = replace(picture, labels=misplaced(mined, picture))
        if self._faces is not None:
            own = OWN if picture.source in self._taught else 1.0
            faces = confidences(looks, answers, picture, self._faces.same, own)
            picture = with_faces(picture, faces, self._faces.nothing)
        return replace(picture, labels=(*picture.labels, *found), searched=frozenset(lacking))


def _asked(work: Work, faces: Fusion | None) -> tuple[Dataset, Pack]:
    """All pictures with the labels that `fuse` wrote; where faces are drawn anew, with the data folder's."""
    pictures, pack = work.pack("train")
    if faces is not None:
        return pictures, pack
    if not work.fused.exists():
        raise ModelsError(
            f"{work.fused} is not there: run label and fuse first, or mine --faces, without teachers."
        )
    return work.labels(work.fused, pictures), pack


def made_from(work: Work, bundle: Path, faces: Fusion | None) -> dict[str, str]:
    """What the labels that `mine` makes depend on, for `Work.write_labels`."""
    return {
        "data": work.digest(work.pictures("train")),
        "labels": work.digest(_asked(work, faces)[0]),
        "net": digest_of_net(bundle),
        "faces": "teachers" if faces is None else "own",
    }


@functools.cache
def _opened(work: Work, bundle: Path, faces: Fusion | None) -> tuple[Miner, Dataset, Pack]:
    """Once a process."""
    pictures, pack = _asked(work, faces)
    detector = OnnxDetector(bundle.name, bundle / "model.onnx")
    return Miner(detector, faces, taught(pictures)), pictures, pack


def _one(work: Work, bundle: Path, faces: Fusion | None, index: int) -> Picture:
    miner, pictures, pack = _opened(work, bundle, faces)
    return miner.mine(pictures[index], pack.picture(index))


def mine(work: Work, bundle: Path, faces: Fusion | None = None, processes: int = 2) -> list[Picture]:
    """All pictures of `work`, on several processes; arguments as for `Miner`."""
    count = len(_asked(work, faces)[0])
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return list(pool.map(functools.partial(_one, work, bundle, faces), range(count), chunksize=50))


def _left_out(label: Label, picture: Picture) -> bool:
    """Whether its centre lies in an ignore region that people drew for its class."""
    regions = [
        (b.x, b.y, b.x + b.w, b.y + b.h)
        for b in picture.labels
        if b.ignore and b.origin is Origin.HUMAN and b.category == label.category
    ]
    box = np.array([[label.x, label.y, label.x + label.w, label.y + label.h]], np.float32)
    return bool(centred_in(box, np.array(regions, np.float32).reshape(-1, 4)).any())


def overlooked(answers: list[Array], picture: Picture) -> list[Label]:
    """The plates that people missed in `picture`, as ignore regions."""
    drawn = np.array(
        [(b.x, b.y, b.x + b.w, b.y + b.h) for b in picture.labels if b.category == "plate"], np.float32
    ).reshape(-1, 4)
    return [
        replace(label, ignore=True)
        for label in consensus(answers, "plate", TRUST["plate"])
        if label.score >= OVERLOOKED_SCORE and not (_touches(label, drawn) >= 0.1).any()
    ]


def misplaced(answers: list[Array], picture: Picture) -> tuple[Label, ...]:
    """The labels of `picture`; plates where no answer touches them become ignore regions."""
    plates = [answer[answer[:, 5] == CLASSES.index("plate"), :4] for answer in answers]
    seen = np.concatenate([np.zeros((0, 4), np.float32), *plates])
    return tuple(
        replace(label, ignore=True)
        if label.category == "plate" and not (_touches(label, seen) >= 0.1).any()
        else label
        for label in picture.labels
    )


def _touches(label: Label, boxes: Array) -> Array:
    """IoU of a label with each of `boxes` [N, 4]."""
    own = np.array([[label.x, label.y, label.x + label.w, label.y + label.h]], np.float32)
    return iou_matrix(own, boxes)[0]


def consensus(looks: list[Array], name: str, trust: Trust) -> list[Label]:
    """Labels of one class from several looks: each thing once, with its mean score over all looks."""
    rows = [look[look[:, 5] == CLASSES.index(name), :5] for look in looks]
    source = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    every = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
    order = np.argsort(-every[:, 4], kind="stable")
    every, source = every[order], source[order]
    labels = []
    for members in clusters(every[:, :4], trust.same):
        if every[members[0], 4] < trust.asked:
            continue
        best = [every[members[source[members] == look], 4].max(initial=0.0) for look in range(len(looks))]
        score = float(np.mean(best))
        if score < trust.doubt:
            continue
        weight = every[members, 4:5]
        x1, y1, x2, y2 = ((every[members, :4] * weight).sum(0) / weight.sum()).tolist()
        labels.append(
            Label(name, x1, y1, x2 - x1, y2 - y1, Origin.TEACHER, ignore=score < trust.sure, score=score)
        )
    return labels
