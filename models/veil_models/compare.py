"""All detectors in one run: INT8 (TFLite gives the same integers), float and the teachers, on the held-out
pictures."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from veil_models.dataset import CLASSES
from veil_models.detect import Detector, OnnxDetector, TeacherDetector, letterbox
from veil_models.errors import ModelsError
from veil_models.evaluate import Figures, draw_curves, evaluate, table, to_json
from veil_models.metrics import Tally
from veil_models.pack import Pixels
from veil_models.work import Work

GOLDEN_FLOOR = 0.2
"""From this score on detections of golden pictures are compared."""


def golden_inputs(bundle: Path) -> Iterator[tuple[str, Pixels]]:
    """Names of the golden pictures and the pictures as the bundle's model takes them, [height, width, 3]."""
    width, height = tomllib.loads((bundle / "bundle.toml").read_text())["input"]["size"]
    for path in sorted((bundle / "golden").glob("*.png")):
        rgb = np.ascontiguousarray(np.asarray(cv2.imread(str(path)), np.uint8)[:, :, ::-1])
        scale = min(width / rgb.shape[1], height / rgb.shape[0])
        seen, _ = letterbox(rgb, round(max(rgb.shape[:2]) * scale))
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: seen.shape[0], : seen.shape[1]] = seen
        yield path.name, canvas


def on_golden(detector: Detector, bundle: Path) -> list[dict[str, object]]:
    """What `detector` sees in the golden pictures of `bundle`, boxes (x, y, w, h) in pixels of its input."""
    rows: list[dict[str, object]] = []
    for name, canvas in golden_inputs(bundle):
        found = detector.find(canvas, GOLDEN_FLOOR)
        for (x0, y0, x1, y1), category, score in zip(
            found.xyxy.tolist(), found.category.tolist(), found.score.tolist(), strict=True
        ):
            box = [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)]
            rows.append(
                {"file_name": name, "category": CLASSES[category], "bbox": box, "score": round(score, 4)}
            )
    return rows


def compare(
    work: Work, bundle: Path, checkpoint: Path | None, yunet: Path | None, out: Path, longest: int
) -> dict[str, dict[str, Figures]]:
    """Print tables, write curves (PNG) and figures.json into `out`, and as golden-float.json what the float
    net sees in the bundle's golden pictures.

    Args:
        checkpoint: the bundle's float net, to be shown beside it; None: not.
        yunet: where YuNet-n lies; None: without the teachers.
    """
    manifest = tomllib.loads((bundle / "bundle.toml").read_text())
    thresholds = {name: float(t["score"]) for name, t in manifest["thresholds"].items()}
    detectors: list[tuple[Detector, tuple[str, ...]]] = [
        (OnnxDetector(f"{manifest['name']} int8", bundle / "model.onnx"), CLASSES)
    ]
    if checkpoint is not None:
        from veil_models.checkpoint import load_folded
        from veil_models.onnx_writer import write_float

        _, nodes, weights = load_folded(checkpoint)
        model = write_float(nodes, weights).SerializeToString()
        real = OnnxDetector(f"{manifest['name']} float", model)
        detectors.append((real, CLASSES))
        out.mkdir(parents=True, exist_ok=True)
        (out / "golden-float.json").write_text(json.dumps(on_golden(real, bundle), indent=1) + "\n")
    if yunet is not None:
        from veil_models.teachers import CenterFace, YuNet

        detectors += [(TeacherDetector(t), ("face",)) for t in (YuNet(yunet), CenterFace())]
    pictures, pack = work.validation()
    more, more_pack = work.pack("val")
    examples = [(p, np.asarray(pack.picture(i))) for i, p in enumerate(pictures)]
    examples += [(p, np.asarray(more_pack.picture(i))) for i, p in enumerate(more) if p.labelled]
    if not any(p.labelled for p, _ in examples):
        raise ModelsError(
            f"nothing to measure on: people labelled no class (`labelled`) in any picture of "
            f"{work.data}/val.json.gz."
        )
    figures: dict[str, dict[str, Figures]] = {}
    tallies: dict[str, dict[str, Tally]] = {}
    out.mkdir(parents=True, exist_ok=True)
    for detector, classes in detectors:
        mine = {} if isinstance(detector, TeacherDetector) else thresholds
        figures[detector.name], tallies[detector.name] = evaluate(detector, examples, longest, mine, classes)
        print(table(detector.name, figures[detector.name]), flush=True)
    for category in CLASSES:
        draw_curves(tallies, category, out / f"curve-{category}.png")
    (out / "figures.json").write_text(to_json(figures))
    return figures
