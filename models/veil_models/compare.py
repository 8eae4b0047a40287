"""All detectors in one run: INT8 (TFLite gives the same integers), float and the teachers, on the held-out
pictures."""

from __future__ import annotations

import tomllib
from pathlib import Path

from veil_models.dataset import CLASSES
from veil_models.detect import Detector, OnnxDetector, TeacherDetector
from veil_models.errors import ModelsError
from veil_models.evaluate import Figures, draw_curves, evaluate, table, to_json
from veil_models.metrics import Tally
from veil_models.work import Work


def compare(
    work: Work, bundle: Path, checkpoint: Path | None, yunet: Path | None, out: Path, longest: int
) -> dict[str, dict[str, Figures]]:
    """Print tables, write curves (PNG) and figures.json into `out`.

    Args:
        checkpoint: the bundle's float net, to be shown beside it; None: not.
        yunet: where YuNet-n lies; None: without the teachers.
    """
    import numpy as np

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
        detectors.append((OnnxDetector(f"{manifest['name']} float", model), CLASSES))
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
