"""Face labels for going on with training, without hours of asking the teachers anew: our own net at several
scales, fused with what the data set's own teachers said at one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veil_models.boxes import Array, clusters
from veil_models.dataset import CLASSES, Dataset, Origin, Picture
from veil_models.looks import Look

OWN = 0.65
"""Share of our own net's confidence in sets that teachers looked through; the rest is theirs, 0 where they
saw nothing."""
RAISED = 1.25
"""Our net was taught 1.25 times the teachers' confidence (`sampler.boxes_of`)."""
SEEN = (8.0, 500.0)
"""Longer sides, in pixels of the look, that our net can see."""


def taught(pictures: Dataset) -> frozenset[str]:
    """The sources that teachers looked through: their faces are labelled somewhere there. In a single picture
    without one nobody can tell whether they saw nothing or were not asked."""
    return frozenset(
        p.source
        for p in pictures
        if any(b.category == "face" and b.origin is Origin.TEACHER for b in p.labels)
    )


def confidences(
    looks: Sequence[Look], answers: Sequence[Array], picture: Picture, same: float, own: float = OWN
) -> Array:
    """Faces as [N, 5] boxes with confidence, from the answers of `looks` (rows x1, y1, x2, y2, score, class)
    and the teachers' labels in `picture`. `own`: our net's share in the confidence, 1 where no teacher was
    asked."""
    rows = [answer[answer[:, 5] == CLASSES.index("face"), :5] for answer in answers]
    said = [b for b in picture.labels if b.category == "face" and b.origin is Origin.TEACHER]
    rows.append(
        np.array([(b.x, b.y, b.x + b.w, b.y + b.h, b.score) for b in said], np.float32).reshape(-1, 5)
    )
    source = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    every = np.concatenate(rows)
    order = np.argsort(-every[:, 4], kind="stable")
    every, source = every[order], source[order]
    result: list[list[float]] = []
    for members in clusters(every[:, :4], same):
        ours = members[source[members] < len(looks)]
        shaping = ours if len(ours) else members  # our own boxes fit people's better than the teachers'
        weight = every[shaping, 4:5]
        box = (every[shaping, :4] * weight).sum(0) / weight.sum()
        best = [float(every[members[source[members] == k], 4].max(initial=0.0)) for k in range(len(rows))]
        longest = float(max(box[2] - box[0], box[3] - box[1]))
        result.append([*box.tolist(), own * _own(looks, best[:-1], longest) / RAISED + (1 - own) * best[-1]])
    return np.array(result, np.float32).reshape(-1, 5)


def _own(looks: Sequence[Look], best: Sequence[float], longest: float) -> float:
    """Mean of the better half of the looks that can see a face of that longer side."""
    able = [s for s, look in zip(best, looks, strict=True) if SEEN[0] <= longest * look.scale <= SEEN[1]]
    ranked = sorted(able or best, reverse=True)
    return float(np.mean(ranked[: (len(ranked) + 1) // 2]))
