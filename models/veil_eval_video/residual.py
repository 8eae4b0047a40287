"""Which faces of an original an independent detector still finds in the output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from veil.frames.picture import Planes
from veil_eval_video.flat import flat_mask
from veil_eval_video.teachers import Face, Teacher

SAME_IOU = 0.4
SMALLEST = 10.0
"""Pixels of the longer side from which a face counts."""

Sightings = list[list[Face]]
"""Faces, frame by frame."""


@dataclass(frozen=True, slots=True)
class Residual:
    """Faces of originals from a score on, how many are still found at that score, and new ones.

    Attributes:
        masked: sum over `frames` of the picture's share under masks: who hides all leaves nothing to find.
    """

    score: float
    faces: int
    found: int
    invented: int
    masked: float = 0.0
    frames: int = 0

    @property
    def share(self) -> float:
        return self.found / self.faces if self.faces else float("nan")

    @property
    def masked_share(self) -> float:
        return self.masked / self.frames if self.frames else float("nan")

    def __add__(self, other: Residual) -> Residual:
        return Residual(
            self.score,
            self.faces + other.faces,
            self.found + other.found,
            self.invented + other.invented,
            self.masked + other.masked,
            self.frames + other.frames,
        )


def look(teacher: Teacher, clip: Iterable[Planes], every: int) -> Sightings:
    """What `teacher` sees in each `every`-th frame."""
    return [teacher.faces(planes) for number, planes in enumerate(clip) if number % every == 0]


def masked_share(clip: Iterable[Planes], every: int) -> tuple[float, int]:
    """Sum of the shares of each `every`-th picture that are under masks, and how many were looked at."""
    shares = [float(flat_mask(planes).mean()) for number, planes in enumerate(clip) if number % every == 0]
    return sum(shares), len(shares)


def compare(original: Sightings, output: Sightings, score: float) -> Residual:
    """Greedy one-to-one matching in each frame, best overlap first. Both have the same frames."""
    total = Residual(score, 0, 0, 0)
    for before, after in zip(original, output, strict=True):
        total += _frame(_counting(before, score), _counting(after, score), score)
    return total


def _counting(faces: Sequence[Face], score: float) -> list[Face]:
    return [
        face for face in faces if face.score >= score and max(face.box.width, face.box.height) >= SMALLEST
    ]


def _frame(before: Sequence[Face], after: Sequence[Face], score: float) -> Residual:
    pairs = sorted(
        (
            (one.box.iou(other.box), i, j)
            for i, one in enumerate(before)
            for j, other in enumerate(after)
            if one.box.iou(other.box) >= SAME_IOU
        ),
        reverse=True,
    )
    taken: set[int] = set()
    still: set[int] = set()
    for _, i, j in pairs:
        if i not in still and j not in taken:
            still.add(i)
            taken.add(j)
    return Residual(score, len(before), len(still), len(after) - len(taken))
