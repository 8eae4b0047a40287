"""bundle.toml as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

from veil_import.layout import Layout
from veil_import.probe import Size
from veil_import.request import Request

_LEAST_RECALL = 1.0


def manifest_text(
    request: Request,
    layout: Layout,
    files: Mapping[str, bytes],
    *,
    dtype: Literal["uint8", "float32"],
    size: Size,
    declared: Literal["fixed", "dynamic"],
) -> str:
    """The manifest of `files`. Whether it verifies is for the loader of bundles to say."""
    preset = request.preset
    lines = [
        "schema = 1",
        f"name = {_string(request.name)}",
        f"version = {_string(request.version)}",
        f"license = {_string(request.license)}",
        f"classes = {_list(map(_string, request.classes.classes))}",
        "",
        "[input]",
        f"color = {_string(request.color or preset.color)}",
        f"dtype = {_string(dtype)}",
    ]
    if dtype == "float32":
        mean, scale = request.normalisation
        lines += [f"mean = {_list(map(repr, mean))}", f"scale = {scale!r}"]
    lines += [
        f"multiple = {multiple(layout)}",
        f"size = {_list(map(str, size))}",
        f"onnx_dynamic = {'true' if declared == 'dynamic' else 'false'}",
        "",
        "[decoder]",
        f"kind = {_string(layout.kind)}",
        f"strides = {_list(map(str, layout.strides))}",
        f"nms_iou = {preset.nms_iou if request.nms_iou is None else request.nms_iou!r}",
    ]
    if layout.channels:
        lines += [f"channels = {_list(map(str, layout.channels))}", f"values = {layout.values}"]
    renamed = {name: model for name, model in layout.outputs.items() if name != model}
    if renamed:
        lines += ["", "[decoder.outputs]"]
        lines += [f"{_string(name)} = {_string(model)}" for name, model in renamed.items()]
    for kind in request.classes.classes:
        score, low = request.thresholds.get(kind, (preset.score, preset.low))
        lines += ["", f"[thresholds.{kind}]", f"score = {score!r}", f"low = {low!r}"]
    lines += ["", "[selftest]", f"min_recall = {_LEAST_RECALL!r}", "", "[files]"]
    lines += [
        f"{_string(name)} = {_string(hashlib.sha256(files[name]).hexdigest())}" for name in sorted(files)
    ]
    return "\n".join(lines) + "\n"


def multiple(layout: Layout) -> int:
    """Width and height of the input are multiples of this."""
    return max(32, *layout.strides)


def _string(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"
