"""Many looks at one picture, fused into soft labels: what most views see is a face, what few see is a
doubt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from veil_models.boxes import Array, centred_in, clusters, iou_matrix
from veil_models.dataset import Dataset, Label, Origin, Picture
from veil_models.errors import ModelsError
from veil_models.label import VIEWS, View, key_of, read_answers, views_for


@dataclass(frozen=True, slots=True)
class Fusion:
    """Answers overlapping by `same` (IoU) are one thing; below confidence `nothing` it is background."""

    nothing: float = 0.12
    same: float = 0.45


HEADS_CALLED_FACES = frozenset({"portraits"})
"""Sets whose people drew whole heads and called them faces (teachers and they agree on 25 %, seen by eye
too)."""


def load_answers(folder: Path, pictures: Dataset, root: Path) -> dict[int, Array]:
    """Rows view, x1, y1, x2, y2, score by index, for every one of `pictures` that `label` asked about.

    Raises:
        ModelsError: none was.
    """
    by_key = read_answers(folder)
    keys = [key_of(picture, root) for picture in pictures]
    answers = {i: by_key[key] for i, key in enumerate(keys) if key in by_key}
    if not answers:
        raise ModelsError(f"{folder} holds no answer about these pictures: run label first.")
    return answers


def reach(view: View, longest: float) -> bool:
    """Whether a view could see a face of that longer side (picture pixels): teachers see about 9 to 400
    px."""
    seen = longest * view.scale
    return 9 <= seen <= 400


def fuse(rows: Array, views: list[View], same: float) -> Array:
    """Clusters of answers as [N, 5] boxes with confidence.

    A cluster's box is the score-weighted mean of its members, its confidence the mean over both teachers of
    the mean best score over that teacher's views which could see a face of that size; a view that says
    nothing counts 0.
    """
    if len(rows) == 0:
        return np.zeros((0, 5), np.float32)
    rows = rows[np.argsort(-rows[:, 5], kind="stable")]
    looks = {VIEWS.index(v): v for v in views}
    result: list[list[float]] = []
    for members in clusters(rows[:, 1:5], same):
        weight = rows[members, 5:6]
        box = (rows[members, 1:5] * weight).sum(0) / weight.sum()
        said = dict.fromkeys(looks, 0.0)
        for view, score in zip(rows[members, 0].astype(int), rows[members, 5], strict=True):
            said[view] = max(said[view], float(score))
        longest = float(max(box[2] - box[0], box[3] - box[1]))
        result.append([*(float(v) for v in box), confidence(said, looks, longest)])
    return np.array(result, np.float32)


def confidence(said: Mapping[int, float], looks: Mapping[int, View], longest: float) -> float:
    """Mean over the teachers of the mean of the better half of their views' scores."""
    means: list[float] = []
    for teacher in ("yunet", "centerface"):
        scores = sorted(
            (s for i, s in said.items() if looks[i].teacher == teacher and reach(looks[i], longest)),
            reverse=True,
        )
        if scores:  # a face seen well at one scale need not be seen at all of them
            best = scores[: (len(scores) + 1) // 2]
            means.append(sum(best) / len(best))
    return sum(means) / len(means) if means else max(said.values())


def relabel(picture: Picture, rows: Array, how: Fusion) -> Picture:
    """The picture with its faces labelled anew from the teachers' answers, each with its confidence."""
    fused = fuse(rows[rows[:, 5] >= how.nothing], views_for(picture), how.same)
    return with_faces(picture, fused, how.nothing)


def with_faces(picture: Picture, fused: Array, nothing: float) -> Picture:
    """The picture with faces `fused` ([N, 5] boxes with confidence), doubts included, as its teachers' ones.

    People's boxes, their ignore regions too, and other classes stay as they are, and silence what lies in
    them. A doubt whose centre lies in something surer is dropped: it is the same face drawn badly.
    """
    kept = [b for b in picture.labels if b.category != "face" or b.origin is Origin.HUMAN]
    labelled = picture.labelled
    if picture.source in HEADS_CALLED_FACES:
        kept = [replace(b, category="head") if b.category == "face" else b for b in kept]
        labelled = labelled - {"face"}
    taken = [(b.x, b.y, b.x + b.w, b.y + b.h) for b in kept if b.category == "face"]
    added: list[Label] = []
    for x1, y1, x2, y2, score in fused[np.argsort(-fused[:, 4], kind="stable")].tolist():
        if score < nothing:
            break
        if taken:
            known = np.array(taken, np.float32)
            box = np.array([[x1, y1, x2, y2]], np.float32)
            if centred_in(box, known).any() or (iou_matrix(box, known) >= 0.3).any():
                continue
        taken.append((x1, y1, x2, y2))
        added.append(Label("face", x1, y1, x2 - x1, y2 - y1, Origin.TEACHER, score=score))
    return replace(picture, labels=(*kept, *added), labelled=labelled)


def relabel_all(pictures: Dataset, answers: Mapping[int, Array], how: Fusion) -> list[Picture]:
    """`relabel` for every picture that was asked; the others stay as they are."""
    return [relabel(p, answers[i], how) if i in answers else p for i, p in enumerate(pictures)]
