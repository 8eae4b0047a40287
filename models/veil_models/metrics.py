"""Greedy matching and everything counted from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from veil_models.boxes import Array, iou_matrix
from veil_models.detect import Found

MATCH_IOU = 0.4
SMALLEST = 10.0
BUCKETS: tuple[tuple[float, float], ...] = ((8, 16), (16, 32), (32, 96), (96, 1e9))


@dataclass(frozen=True, slots=True)
class Truth:
    """What one picture holds of one class: `xyxy` [N, 4], `ignore` [N]; boxes under SMALLEST pixels are
    ignored."""

    xyxy: Array
    ignore: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """One picture's detections of one class against its truth, whatever IoU a match then takes.

    `score`, `size` [N] and `inside` [N] (half of it lies in an ignored box) of the detections, best score
    first; `overlap` [N, M] with the truths; `truth_size`, `ignored` [M].
    """

    score: Array
    size: Array
    inside: npt.NDArray[np.bool_]
    overlap: Array
    truth_size: Array
    ignored: npt.NDArray[np.bool_]


def pair(found: Found, truth: Truth) -> Pairs:
    """All that matching needs, computed once."""
    order = np.argsort(-found.score, kind="stable")
    boxes = found.xyxy[order]
    sides = (truth.xyxy[:, 2:] - truth.xyxy[:, :2]).max(1, initial=0.0)
    ignored = truth.ignore | (sides < SMALLEST)
    low = np.maximum(boxes[:, None, :2], truth.xyxy[None, ignored, :2])
    high = np.minimum(boxes[:, None, 2:], truth.xyxy[None, ignored, 2:])
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
    inside = (np.clip(high - low, 0, None).prod(2) / area[:, None] >= 0.5).any(1)
    size = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    return Pairs(found.score[order], size, inside, iou_matrix(boxes, truth.xyxy), sides, ignored)


@dataclass(slots=True)
class Tally:
    """Matches of one class over many pictures; every list has one entry per detection or per truth."""

    score: list[float] = field(default_factory=list)
    hit: list[bool] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    truth_size: list[float] = field(default_factory=list)
    truth_score: list[float] = field(default_factory=list)
    pictures: int = 0

    def add(self, found: Found, truth: Truth, iou: float = MATCH_IOU) -> None:
        """Match one picture's detections of one class, best score first, each truth once.

        A detection that fits no free truth but lies on an ignored one (IoU >= `iou`, or half of it inside) or
        is itself smaller than SMALLEST does not count.
        """
        self.add_pairs(pair(found, truth), iou)

    def add_pairs(self, pairs: Pairs, iou: float) -> None:
        """The same, for pairs computed before."""
        self.pictures += 1
        overlap = np.where(pairs.ignored[None], 0.0, pairs.overlap)
        skip = pairs.inside | (np.where(pairs.ignored[None], pairs.overlap, 0.0) >= iou).any(1)
        skip |= pairs.size < SMALLEST
        matched = np.full(len(pairs.score), -1)
        best = np.zeros(len(pairs.truth_size))
        for i in np.flatnonzero((overlap >= iou).any(1)):
            j = int(overlap[i].argmax())
            if overlap[i, j] >= iou:
                matched[i], best[j] = j, pairs.score[i]
                self.overlap.append(float(overlap[i, j]))
                overlap[:, j] = 0.0
        hit = matched >= 0
        counted = hit | ~skip
        size = np.where(hit, pairs.truth_size[matched], pairs.size) if len(best) else pairs.size
        self.score += pairs.score[counted].tolist()
        self.hit += hit[counted].tolist()
        self.size += size[counted].tolist()
        self.truth_size += pairs.truth_size[~pairs.ignored].tolist()
        self.truth_score += best[~pairs.ignored].tolist()

    def curve(self, low: float = 0.0, high: float = 1e9) -> Curve:
        """Precision and recall over all thresholds, for sizes in [low, high)."""
        size, truth = np.array(self.size), np.array(self.truth_size)
        keep = (size >= low) & (size < high)
        score = np.array(self.score, np.float64)[keep]
        hit = np.array(self.hit, bool)[keep]
        order = np.argsort(-score, kind="stable")
        count = int(((truth >= low) & (truth < high)).sum())
        return Curve(score[order], np.cumsum(hit[order]), np.cumsum(~hit[order]), count, self.pictures)

    def mean_overlap(self, threshold: float, low: float = 0.0, high: float = 1e9) -> float:
        """Mean IoU of the matches at a threshold, for sizes in [low, high)."""
        hits = [(s, z) for s, z, h in zip(self.score, self.size, self.hit, strict=True) if h]
        values = [
            o for o, (s, z) in zip(self.overlap, hits, strict=True) if s >= threshold and low <= z < high
        ]
        return float(np.mean(values)) if values else 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Detections by falling score with running hits and false alarms; `truths` and `pictures` they count
    against."""

    score: npt.NDArray[np.float64]
    hits: npt.NDArray[np.int64]
    alarms: npt.NDArray[np.int64]
    truths: int
    pictures: int

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """After each detection."""
        return np.asarray(self.hits / max(self.truths, 1), np.float64)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """After each detection."""
        return np.asarray(self.hits / np.maximum(self.hits + self.alarms, 1), np.float64)

    def average_precision(self) -> float:
        """Area under the curve of best precision at or beyond each recall."""
        if self.truths == 0 or len(self.score) == 0:
            return 0.0
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0.0) * envelope).sum())

    def recall_at_precision(self, precision: float) -> tuple[float, float]:
        """Best recall with at least this precision, and the score threshold there (1 if never)."""
        good = np.flatnonzero(self.precision >= precision)
        if len(good) == 0:
            return 0.0, 1.0
        return float(self.recall[good[-1]]), float(self.score[good[-1]])

    def recall_at_alarms(self, per_picture: float) -> tuple[float, float]:
        """Recall with at most this many false alarms a picture, and the threshold there."""
        good = np.flatnonzero(self.alarms <= per_picture * self.pictures)
        if len(good) == 0:
            return 0.0, 1.0
        return float(self.recall[good[-1]]), float(self.score[good[-1]])

    def at(self, threshold: float) -> tuple[float, float, float]:
        """Precision, recall and false alarms a picture at a threshold."""
        n = int((self.score >= threshold).sum())
        if n == 0:
            return 1.0, 0.0, 0.0
        return (
            float(self.precision[n - 1]),
            float(self.recall[n - 1]),
            float(self.alarms[n - 1] / max(self.pictures, 1)),
        )

    def best_f1(self) -> tuple[float, float]:
        """Best F1 and its threshold."""
        if len(self.score) == 0:
            return 0.0, 1.0
        f1 = 2 * self.precision * self.recall / np.maximum(self.precision + self.recall, 1e-9)
        i = int(f1.argmax())
        return float(f1[i]), float(self.score[i])
