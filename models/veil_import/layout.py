"""Which output of a model is which, by the shapes it gives for one size of picture.

Exporters name outputs by number or not at all, so names decide nothing where shapes can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veil.detect.decode_scrfd import ANCHORS
from veil.detect.manifest import STRIDES, DecoderKind
from veil.errors import BundleError
from veil_import.classes import Wanted
from veil_import.kinds import Kind
from veil_import.probe import Metadata, Shape, Size

Values = Mapping[str, NDArray[Any]]

_SHORT = (8, 16, 32)
_LONG = (8, 16, 32, 64)
_CENTERFACE_STRIDE = 4
_KEYPOINT_VALUES = {0: "none", 10: "five of x, y", 15: "five of x, y, visible"}
_SUM_TOLERANCE = 1e-3
_RANGE_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Layout:
    """`[decoder]` of the manifest, but for nms_iou."""

    kind: DecoderKind
    strides: tuple[int, ...]
    outputs: Mapping[str, str]
    channels: tuple[int, ...] = ()
    values: int = 0


@dataclass(slots=True)
class _Found:
    """The outputs of one run that are not taken yet."""

    kind: Kind
    size: Size
    values: Values
    left: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.left = list(self.values)

    def cells(self, stride: int) -> int:
        return -(-self.size[0] // stride) * -(-self.size[1] // stride)

    def side(self, stride: int) -> Shape:
        return (self.size[1] // stride, self.size[0] // stride)

    def with_shape(self, *shapes: Shape) -> list[str]:
        return [name for name in self.left if self.values[name].shape in shapes]

    def take(self, what: str, count: int, *shapes: Shape) -> list[str]:
        """Exactly `count` outputs of one of `shapes`, in the model's order; or a BundleError."""
        names = self.with_shape(*shapes)
        if len(names) != count:
            raise self.wrong(f"{count} output(s) {_said(shapes[0])} ({what}) are needed, {len(names)} found")
        self.left = [name for name in self.left if name not in names]
        return names

    def wrong(self, why: str, hint: str = "Check --kind, and how the model was exported.") -> BundleError:
        given = ", ".join(f"{name} {_said(values.shape)}" for name, values in self.values.items())
        width, height = self.size
        return BundleError(
            f"this is no {self.kind} model that can be read: {why} for a picture of {width}x{height}. "
            f"It gives {given}.",
            hint=hint,
        )


def recognise(kind: Kind, size: Size, values: Values, wanted: Wanted, metadata: Metadata) -> Layout:
    """The layout of a model of `kind` that gave `values` for a picture of `size`.

    Raises BundleError, with what was found and what is needed, for any other model.
    """
    found = _Found(kind, size, values)
    if kind != "yolov8" and (len(wanted.classes) != 1 or wanted.channels != (0,)):
        raise BundleError(f"a {kind} model has one class.", hint="Name one class with --classes.")
    match kind:
        case "yunet":
            return _yunet(found)
        case "scrfd":
            return _scrfd(found)
        case "retinaface":
            return _retinaface(found)
        case "centerface":
            return _centerface(found)
        case "yolov5_face":
            return _yolov5_face(found)
        case "yolov8":
            return _yolov8(found, wanted, metadata)


def _yunet(found: _Found) -> Layout:
    outputs: dict[str, str] = {}
    for stride in _SHORT:
        cells = found.cells(stride)
        # Their product is the score, so that it does not matter which is which.
        scores = found.take(f"class and object score, stride {stride}", 2, (1, cells, 1))
        named = sorted(scores, key=lambda name: "obj" in name)
        outputs[f"cls_{stride}"], outputs[f"obj_{stride}"] = named
        (outputs[f"bbox_{stride}"],) = found.take(f"box, stride {stride}", 1, (1, cells, 4))
        for name in scores:
            _require_share(found, name, found.values[name])
    return Layout("yunet", _SHORT, outputs)


def _scrfd(found: _Found) -> Layout:
    fives = len(found.values) % 5 == 0
    strides = STRIDES["scrfd"][1 if fives else 0]
    outputs: dict[str, str] = {}
    for stride in strides:
        rows = found.cells(stride) * ANCHORS[len(strides)]
        (score,) = found.take(f"score, stride {stride}", 1, (rows, 1), (1, rows, 1))
        (outputs[f"bbox_{stride}"],) = found.take(f"box, stride {stride}", 1, (rows, 4), (1, rows, 4))
        _require_share(found, score, found.values[score])
        outputs[f"score_{stride}"] = score
    return Layout("scrfd", strides, outputs)


def _retinaface(found: _Found) -> Layout:
    rows = 2 * sum(found.cells(stride) for stride in _SHORT)
    (loc,) = found.take("loc", 1, (1, rows, 4))
    (conf,) = found.take("conf", 1, (1, rows, 2))
    _require_share(found, conf, found.values[conf])
    if np.abs(found.values[conf].sum(axis=-1) - 1).max() > _SUM_TOLERANCE:
        raise found.wrong(f"{conf} holds no probabilities", hint="Export it in its test phase (softmax).")
    return Layout("retinaface", _SHORT, {"loc": loc, "conf": conf})


def _centerface(found: _Found) -> Layout:
    side = found.side(_CENTERFACE_STRIDE)
    (heat,) = found.take("heat map", 1, (1, 1, *side))
    scale, offset = found.take("sizes, then offsets", 2, (1, 2, *side))
    _require_share(found, heat, found.values[heat])
    return Layout("centerface", (_CENTERFACE_STRIDE,), {"537": heat, "538": scale, "539": offset})


def _yolov5_face(found: _Found) -> Layout:
    for strides in (_SHORT, _LONG):
        names = found.with_shape((1, 3 * sum(found.cells(stride) for stride in strides), 16))
        if len(names) == 1:
            for column in (4, 15):
                _require_share(found, names[0], found.values[names[0]][..., column])
            return Layout("yolov5_face", strides, {"output": names[0]})
    outputs: dict[str, str] = {}
    for stride in _SHORT:
        shape = (1, 3, *found.side(stride), 16)
        (outputs[f"stride_{stride}"],) = found.take(f"one [1, N, 16], or raw stride {stride}", 1, shape)
    return Layout("yolov5_face_raw", _SHORT, outputs)


def _yolov8(found: _Found, wanted: Wanted, metadata: Metadata) -> Layout:
    if metadata.task == "obb":
        raise found.wrong("its boxes are turned", hint="Export a model of the task detect or pose.")
    for strides in (_SHORT, _LONG):
        cells = sum(found.cells(stride) for stride in strides)
        for name, values in found.values.items():
            if values.ndim == 3 and values.shape[0] == 1 and values.shape[2] == cells:
                width = values.shape[1]
                _require_classes(found, wanted, metadata, width)
                for channel in wanted.channels:
                    _require_share(found, name, values[:, 4 + channel])
                return Layout("yolov8", strides, {"output0": name}, wanted.channels, width)
    raise found.wrong(
        f"one output 1 x (4 + classes) x {sum(found.cells(stride) for stride in _SHORT)} is needed",
        hint="Export it with ultralytics as format=onnx, nms=False, without end-to-end head.",
    )


def _require_classes(found: _Found, wanted: Wanted, metadata: Metadata, values: int) -> None:
    """The classes named are the model's: by its metadata where it has any, otherwise by count."""
    highest = max(wanted.channels)
    if metadata.classes:
        count = len(metadata.classes)
        said = ", ".join(f"{index} {name}" for index, name in sorted(metadata.classes.items())[:10])
        if (wanted.named is not None and wanted.named != count) or highest >= count or 4 + count > values:
            raise found.wrong(
                f"it has {count} class(es): {said}",
                hint="Name each with --classes, none for those that are none of ours; or face=INDEX.",
            )
        return
    rest = values - 4 - (wanted.named if wanted.named is not None else highest + 1)
    if (wanted.named is not None and rest not in _KEYPOINT_VALUES) or rest < 0:
        raise found.wrong(
            f"{values} values a box are 4 of the box, {values - 4 - rest} class(es) and {rest} more",
            hint="Name each of its classes with --classes, none for those that are none of ours.",
        )


def _require_share(found: _Found, name: str, scores: NDArray[Any]) -> None:
    """Scores are 0..1: anything else is logits, or another output."""
    if not np.isfinite(scores).all():
        raise found.wrong(
            f"{name} holds values that are not finite", hint="The model is broken; export it again."
        )
    if scores.min(initial=0) < -_RANGE_TOLERANCE or scores.max(initial=0) > 1 + _RANGE_TOLERANCE:
        raise found.wrong(
            f"{name} holds scores outside 0..1", hint="Export it with its last activation (sigmoid, softmax)."
        )


def _said(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
