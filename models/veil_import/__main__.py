"""`python -m veil_import MODEL.onnx --kind … --name … --classes … --out …`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import get_args

from veil.detect.manifest import MAX_LOW
from veil.domain.detection import ObjectClass
from veil.errors import UsageError, VeilError
from veil_import.classes import Wanted, parse_classes
from veil_import.importer import Imported, import_model
from veil_import.kinds import Color, Kind, Sizes, Triple
from veil_import.probe import Size
from veil_import.request import UNSTATED, Request

_LOW_SHARE = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Imports; returns the exit code."""
    try:
        imported = import_model(parse(arguments))
    except VeilError as error:
        sys.stderr.write(f"veil_import: {error.message}\n{error.hint}\n")
        return error.exit_code
    sys.stdout.write(_said(imported))
    return 0


def parse(arguments: Sequence[str] | None = None) -> Request:
    """The request of a command line. Raises UsageError."""
    a = _parser().parse_args(arguments)
    classes = parse_classes(a.classes)
    return Request(
        model=a.model,
        kind=a.kind,
        name=a.name,
        classes=classes,
        out=a.out,
        version=a.version,
        license=a.license,
        size=a.size,
        sizes=a.sizes,
        color=a.color,
        mean=a.mean,
        scale=a.scale,
        nms_iou=a.nms_iou,
        thresholds=_thresholds(a.threshold, classes),
        golden=a.golden,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="veil_import",
        description="Turns an ONNX detector of your own into a bundle. docs/import.md is the manual.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--kind", required=True, choices=get_args(Kind))
    parser.add_argument("--name", required=True, help="of the bundle: a-z 0-9 . _ -")
    parser.add_argument("--classes", required=True, help="face | face,none,plate | face=0,plate=3")
    parser.add_argument("--out", required=True, type=Path, help="the bundle's folder; must not be there yet")
    parser.add_argument("--license", default=UNSTATED, help="of the weights, as you know it")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="[CLASS=]SCORE[,LOW]",
        help="a detection masks from SCORE on and extends a track from LOW on (default half of it)",
    )
    parser.add_argument("--nms-iou", type=float, help="boxes that overlap more are one object")
    parser.add_argument("--size", type=_size, metavar="WxH", help="for models that take any size")
    parser.add_argument("--sizes", choices=get_args(Sizes), help="any: free what the model declares")
    parser.add_argument("--color", choices=get_args(Color))
    parser.add_argument(
        "--mean", type=_triple, metavar="A,B,C", help="of pixels 0..255, in the order of --color"
    )
    parser.add_argument("--scale", type=_scale, help="(pixel - mean) * scale; 1/255 is fine")
    parser.add_argument(
        "--golden",
        default="auto",
        metavar="astronaut|none|FOLDER",
        help="pictures of the self-test: your own with expected.json; default: the astronaut for faces",
    )
    return parser


def _size(text: str) -> Size:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _triple(text: str) -> Triple:
    first, second, third = (float(word) for word in text.split(","))
    return first, second, third


def _scale(text: str) -> float:
    try:
        return float(Fraction(text))
    except ZeroDivisionError as error:
        raise ValueError(text) from error


def _thresholds(texts: Sequence[str], classes: Wanted) -> dict[ObjectClass, tuple[float, float]]:
    found: dict[ObjectClass, tuple[float, float]] = {}
    for text in texts:
        name, given, numbers = text.rpartition("=")
        score, _, low = numbers.partition(",")
        try:
            kinds = (ObjectClass(name),) if given else classes.classes
            pair = (float(score), float(low) if low else min(float(score) * _LOW_SHARE, MAX_LOW))
        except ValueError as error:
            raise UsageError(
                f"--threshold {text!r} is not understood.", hint="For example 0.4, 0.4,0.2 or face=0.4,0.2."
            ) from error
        found.update(dict.fromkeys(kinds, pair))
    return found


def _said(imported: Imported) -> str:
    layout, (width, height) = imported.layout, imported.size
    size = f"{width}x{height}" if imported.declared == "fixed" else f"any size ({width}x{height} by default)"
    lines = [
        f"{imported.folder}: {imported.identity}, {layout.kind}, strides {layout.strides}, {size}",
        *(f"  {name}: output {model!r}" for name, model in layout.outputs.items() if name != model),
    ]
    if imported.selftest is None:
        lines.append("  no self-test: nothing shows that it finds anything (--golden FOLDER)")
    else:
        test = imported.selftest
        lines.append(f"  self-test: {test.found} of {test.expected} found, {test.median_ms:.0f} ms")
    lines.append("Its card.md is a stub: fill it in. The licence of the weights is yours to check.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
