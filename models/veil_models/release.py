"""A bundle folder from a checkpoint: both model files, golden pictures, manifest."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from veil_models.boxes import iou_matrix
from veil_models.dataset import CLASSES
from veil_models.detect import NMS_IOU, Detector, Found, letterbox
from veil_models.errors import ModelsError
from veil_models.golden import Golden, all_golden
from veil_models.graph import BOX_OF, STRIDES, Node
from veil_models.onnx_writer import write_int8
from veil_models.quantized import Folded, grids
from veil_models.tflite_writer import write_tflite


@dataclass(frozen=True, slots=True)
class Threshold:
    """`score` masks at once, `low` extends a track, `large` and `sure` are for large boxes."""

    score: float
    low: float
    large: float = 0.0
    sure: float = 0.0


SIZES = {"veil-s": (640, 384), "veil-n": (320, 320)}
"""Width and height that a bundle is made for."""

_PLATE_SURE = {"veil-s": 0.40, "veil-n": 0.30}
THRESHOLDS: dict[str, dict[str, Threshold]] = {
    name: {
        "face": Threshold(0.10, 0.06, 0.45, 0.35),
        "plate": Threshold(0.22, 0.06, 0.50, sure),
        "head": Threshold(0.45, 0.30),
    }
    for name, sure in _PLATE_SURE.items()
}
"""Chosen on video for recall (docs/models.md): what is overlooked is seen by somebody, what is masked in
vain is not."""


UNSTATED = "LicenseRef-not-stated"
"""Licence of weights whose owner said none."""


@dataclass(frozen=True, slots=True)
class Release:
    """What a bundle says about itself; sizes are width, height."""

    name: str
    version: str
    size: tuple[int, int]
    thresholds: Mapping[str, Threshold]
    license: str = UNSTATED
    min_recall: float = 0.9


def stated_license(bundle: Path, name: str) -> str:
    """The licence that the bundle of that name states already, or none."""
    manifest = bundle / "bundle.toml"
    about = tomllib.loads(manifest.read_text()) if manifest.exists() else {}
    return str(about["license"]) if about.get("name") == name else UNSTATED


@contextmanager
def appearing(bundle: Path) -> Iterator[Path]:
    """A copy of `bundle` to be worked on, empty where there is none: it takes the bundle's place at the end,
    or is gone when anything was raised.

    Raises:
        ModelsError: `bundle` is something else than a bundle.
    """
    bundle = bundle.resolve()
    taken = bundle.exists()
    if taken and not (bundle / "bundle.toml").exists() and (not bundle.is_dir() or any(bundle.iterdir())):
        raise ModelsError(f"{bundle} is there and no bundle: choose another --bundle.")
    bundle.parent.mkdir(parents=True, exist_ok=True)
    folder = bundle.with_name(f".{bundle.name}.{secrets.token_hex(4)}")
    try:
        if taken:
            shutil.copytree(bundle, folder)
        else:
            folder.mkdir()
        yield folder
        old = folder.with_name(f"{folder.name}.old")
        if taken:
            bundle.rename(old)
        folder.rename(bundle)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_models(
    folder: Path,
    nodes: list[Node],
    weights: Mapping[str, Folded],
    ranges: Mapping[str, tuple[float, float]],
    size: tuple[int, int],
) -> None:
    """model.onnx (INT8, dynamic size) and model.tflite (same integers, fixed size)."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = grids(nodes, ranges)
    (folder / "model.onnx").write_bytes(write_int8(nodes, weights, grid).SerializeToString())
    (folder / "model.tflite").write_bytes(write_tflite(nodes, weights, grid, size))


def hits(golden: Golden, found: Found, scale: float, thresholds: Mapping[str, Threshold]) -> list[bool]:
    """For each expected object whether it is found with IoU >= 0.4 at its class's masking threshold."""
    result = []
    for category, x, y, w, h in golden.expected:
        mine = found.of(CLASSES.index(category))
        box = np.array([[x, y, x + w, y + h]], np.float32) * scale
        good = iou_matrix(mine.xyxy, box)[:, 0] >= 0.4
        result.append(bool((good & (mine.score >= thresholds[category].score)).any()))
    return result


def write_golden(folder: Path, detector: Detector, release: Release) -> tuple[int, int]:
    """Write golden/ with the objects that this model finds; returns found and drawn, for the card."""
    target = folder / "golden"
    target.mkdir(parents=True, exist_ok=True)
    expected = []
    drawn = 0
    for golden in all_golden():
        h, w = golden.rgb.shape[:2]
        fit = min(release.size[0] / w, release.size[1] / h)
        seen, scale = letterbox(golden.rgb, round(max(h, w) * fit))
        good = hits(golden, detector.find(seen, 0.05), scale, release.thresholds)
        drawn += len(good)
        cv2.imwrite(str(target / golden.name), golden.rgb[:, :, ::-1])
        for ok, (category, x, y, bw, bh) in zip(good, golden.expected, strict=True):
            if ok:
                box = [round(v, 1) for v in (x, y, bw, bh)]
                expected.append({"file_name": golden.name, "category": category, "bbox": box})
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    return len(expected), drawn


def write_manifest(folder: Path, release: Release) -> None:
    """bundle.toml with the SHA-256 of every other file of the folder."""
    (folder / "bundle.toml").write_text(manifest_text(release, hashes(folder)))


def manifest_text(release: Release, files: str) -> str:
    """bundle.toml; `files`: the lines of its last table."""
    w, h = release.size
    lines = [
        "schema = 1",
        f"name = {json.dumps(release.name)}",
        f"version = {json.dumps(release.version)}",
        f"license = {json.dumps(release.license)}",
        f"classes = {json.dumps(list(CLASSES))}",
        "",
        "[input]",
        'color = "rgb"',
        'dtype = "uint8"',
        "multiple = 32",
        f"size = [{w}, {h}]",
        "onnx_dynamic = true",
        "brighten = true",
        f"tflite_size = [{w}, {h}]",
        "",
        "[decoder]",
        'kind = "ltrb_grid"',
        f"strides = {list(STRIDES)}",
        f"nms_iou = {NMS_IOU}",
        f"box_of = {list(BOX_OF)}",
        "",
    ]
    for name in CLASSES:
        t = release.thresholds[name]
        bounds = [f"score = {t.score:.2f}", f"low = {t.low:.2f}", f"large = {t.large:.2f}"]
        bounds.append(f"sure = {t.sure:.2f}")
        lines += [f"[thresholds.{name}]", *bounds, ""]
    lines += ["[selftest]", f"min_recall = {release.min_recall}", "", "[files]"]
    return "\n".join(lines) + "\n" + files


def rehash(folder: Path) -> None:
    """Write the [files] table anew, after the card changed."""
    manifest = folder / "bundle.toml"
    head = manifest.read_text().split("[files]", maxsplit=1)[0]
    manifest.write_text(head + "[files]\n" + hashes(folder))


def hashes(folder: Path) -> str:
    """The lines of a manifest's [files] table: every file but the manifest with its SHA-256."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "bundle.toml"):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f'"{path.relative_to(folder).as_posix()}" = "{digest}"\n')
    return "".join(lines)
