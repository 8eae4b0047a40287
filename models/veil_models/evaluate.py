"""One evaluator for every detector: tables, curves and a JSON of all figures, over people's labels alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veil_models.boxes import Array
from veil_models.dataset import CLASSES, Origin, Picture
from veil_models.detect import Detector, letterbox
from veil_models.fuse import HEADS_CALLED_FACES
from veil_models.metrics import BUCKETS, Tally, Truth, pair
from veil_models.pack import Pixels

FLOOR = 0.05
"""Detections below this score are not looked at."""

PRECISION = {"face": 0.92, "plate": 0.92, "head": 0.85}
ALARMS = 0.1
BY_SIZE = {f"{low:g}-{high:g}" if high < 1e6 else f">{low:g}": (low, high) for low, high in BUCKETS}
"""The buckets by name: longer sides in pixels."""
IOUS = tuple(float(v) for v in np.arange(0.5, 1.0, 0.05))


@dataclass(frozen=True, slots=True)
class Figures:
    """What one tally says.

    `ap40`, `ap50`, `ap5095` are average precisions at IoU 0.4, 0.5 and the mean over 0.5 to 0.95; recall and
    threshold at the class's bar of precision and at ALARMS false alarms a picture; at `threshold` (the
    bundle's, or the best F1's) precision, recall, F1, mean IoU, false alarms a picture, and `coverage`, the
    mean share of a true box that lies under detections of its class.
    """

    truths: int
    pictures: int
    ap40: float
    ap50: float
    ap5095: float
    recall_at_precision: float
    threshold_at_precision: float
    recall_at_alarms: float
    threshold_at_alarms: float
    threshold: float
    precision: float
    recall: float
    f1: float
    mean_iou: float
    alarms: float
    coverage: float


@dataclass(slots=True)
class _Entry:
    at: dict[float, Tally]
    covered: list[tuple[Array, Array, Array]]


def truth_of(picture: Picture, category: str, scale: float) -> Truth:
    """People's boxes; a teacher's are ignored, people overlook things."""
    labels = [b for b in picture.labels if b.category == category]
    xyxy = np.array([(b.x, b.y, b.x + b.w, b.y + b.h) for b in labels], np.float32).reshape(-1, 4)
    ignore = np.array([b.ignore or b.origin is not Origin.HUMAN for b in labels], bool)
    return Truth(xyxy * scale, ignore)


def evaluate(
    detector: Detector,
    examples: Iterable[tuple[Picture, Pixels]],
    longest: int,
    thresholds: Mapping[str, float],
    classes: Sequence[str] = CLASSES,
) -> tuple[dict[str, Figures], dict[str, Tally]]:
    """Figures by `class`, `class/source` and `class/LOW-HIGH px`, and the tallies at IoU 0.4 for curves.

    Pictures are scaled to `longest` on their longer side and stay at the top left.
    """
    entries: dict[str, _Entry] = {}
    for picture, rgb in examples:
        wanted = [c for c in classes if c in picture.labelled]
        if picture.source in HEADS_CALLED_FACES:
            wanted = [c for c in wanted if c != "face"]
        if not wanted:
            continue
        seen, scale = letterbox(rgb, longest)
        found = detector.find(seen, FLOOR)
        for category in wanted:
            truth = truth_of(picture, category, scale)
            mine = found.of(CLASSES.index(category))
            pairs = pair(mine, truth)
            for key in (category, f"{category}/{picture.source}"):
                entry = entries.setdefault(key, _Entry({i: Tally() for i in (0.4, *IOUS)}, []))
                for iou, tally in entry.at.items():
                    tally.add_pairs(pairs, iou)
                entry.covered.append((truth.xyxy[~truth.ignore], mine.xyxy, mine.score))
    figures = {}
    for key, entry in sorted(entries.items()):
        category = key.split("/", maxsplit=1)[0]
        figures[key] = _figures(entry, category, thresholds)
        if key == category:
            for name, bounds in BY_SIZE.items():
                figures[f"{key}/{name} px"] = _figures(entry, category, thresholds, bounds)
    return figures, {k: e.at[0.4] for k, e in entries.items()}


def _figures(
    entry: _Entry,
    category: str,
    thresholds: Mapping[str, float],
    bounds: tuple[float, float] = (0.0, 1e9),
) -> Figures:
    curve = entry.at[0.4].curve(*bounds)
    at_precision = curve.recall_at_precision(PRECISION[category])
    at_alarms = curve.recall_at_alarms(ALARMS)
    threshold = thresholds.get(category, entry.at[0.4].curve().best_f1()[1])
    precision, recall, alarms = curve.at(threshold)
    precise = [t.curve(*bounds).average_precision() for i, t in entry.at.items() if i != 0.4]
    return Figures(
        truths=curve.truths,
        pictures=curve.pictures,
        ap40=curve.average_precision(),
        ap50=entry.at[0.5].curve(*bounds).average_precision(),
        ap5095=float(np.mean(precise)),
        recall_at_precision=at_precision[0],
        threshold_at_precision=at_precision[1],
        recall_at_alarms=at_alarms[0],
        threshold_at_alarms=at_alarms[1],
        threshold=threshold,
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / max(precision + recall, 1e-9),
        mean_iou=entry.at[0.4].mean_overlap(threshold, *bounds),
        alarms=alarms,
        coverage=coverage(entry.covered, threshold, bounds),
    )


def coverage(
    pictures: Sequence[tuple[Array, Array, Array]],
    threshold: float,
    bounds: tuple[float, float] = (0.0, 1e9),
) -> float:
    """Mean share of each true box's area under the union of detections with at least `threshold`; of boxes
    whose longer side, in pixels, is in [low, high)."""
    shares: list[float] = []
    for truths, boxes, score in pictures:
        kept = boxes[score >= threshold]
        longest = (truths[:, 2:] - truths[:, :2]).max(1, initial=0.0)
        wanted = truths[(longest >= bounds[0]) & (longest < bounds[1])]
        for x1, y1, x2, y2 in np.rint(wanted).astype(int):
            w, h = max(1, x2 - x1), max(1, y2 - y1)
            if max(w, h) < 10:
                continue
            mask = np.zeros((h, w), bool)
            for a, b, c, d in np.rint(kept).astype(int):
                mask[max(0, b - y1) : max(0, d - y1), max(0, a - x1) : max(0, c - x1)] = True
            shares.append(float(mask.mean()))
    return float(np.mean(shares)) if shares else 0.0


def table(name: str, figures: Mapping[str, Figures]) -> str:
    """A table in plain text, a line for each class, source and size."""
    lines = [
        f"{name}",
        f"{'':24s} {'boxes':>6s} {'AP.4':>6s} {'AP.5':>6s} {'AP.5:.95':>8s} {'R@P':>6s} {'R@FP.1':>6s} "
        f"{'t':>5s} {'P':>6s} {'R':>6s} {'F1':>6s} {'IoU':>6s} {'FP/pic':>6s} {'cover':>6s}",
    ]
    for key, f in figures.items():
        lines.append(
            f"{key:24s} {f.truths:6d} {f.ap40:6.3f} {f.ap50:6.3f} {f.ap5095:8.3f} "
            f"{f.recall_at_precision:6.3f} {f.recall_at_alarms:6.3f} {f.threshold:5.2f} "
            f"{f.precision:6.3f} {f.recall:6.3f} {f.f1:6.3f} "
            f"{f.mean_iou:6.3f} {f.alarms:6.3f} {f.coverage:6.3f}"
        )
    return "\n".join(lines)


def to_json(all_figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """All figures of all detectors."""
    from dataclasses import asdict

    data = {d: {k: asdict(f) for k, f in figures.items()} for d, figures in all_figures.items()}
    return json.dumps(data, indent=1, default=float) + "\n"


def draw_curves(tallies: Mapping[str, Mapping[str, Tally]], category: str, target: Path) -> None:
    """Precision over recall of one class for every detector, as a PNG drawn without a plotting library."""
    import cv2

    side, margin = 640, 60
    canvas = np.full((side + 2 * margin, side + 2 * margin, 3), 255, np.uint8)
    colours = ((40, 40, 200), (200, 120, 20), (40, 150, 40), (150, 40, 150), (90, 90, 90))

    def point(recall: float, precision: float) -> tuple[int, int]:
        return margin + round(recall * side), margin + side - round((precision - 0.5) * 2 * side)

    for step in range(11):
        a, b = point(step / 10, 0.5), point(step / 10, 1.0)
        cv2.line(canvas, a, b, (225, 225, 225), 1)
        cv2.putText(canvas, f"{step / 10:.1f}", (a[0] - 12, a[1] + 22), 0, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        a, b = point(0, 0.5 + step / 20), point(1, 0.5 + step / 20)
        cv2.line(canvas, a, b, (225, 225, 225), 1)
        cv2.putText(
            canvas, f"{0.5 + step / 20:.2f}", (a[0] - 45, a[1] + 5), 0, 0.45, (0, 0, 0), 1, cv2.LINE_AA
        )
    cv2.putText(canvas, f"{category}: precision over recall", (margin, 30), 0, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    row = 0
    for (name, by_key), colour in zip(tallies.items(), colours * 4, strict=False):
        if category not in by_key:
            continue
        curve = by_key[category].curve()
        kept = curve.precision >= 0.5
        points = [
            point(float(r), float(p)) for r, p in zip(curve.recall[kept], curve.precision[kept], strict=True)
        ]
        if points:
            cv2.polylines(canvas, [np.array(points, np.int32)], isClosed=False, color=colour, thickness=2)
        text = f"{name}  AP {curve.average_precision():.3f}"
        at = (margin + 20, margin + side - 60 - 24 * row)
        cv2.putText(canvas, text, at, 0, 0.55, colour, 1, cv2.LINE_AA)
        row += 1
    cv2.imwrite(str(target), canvas)
