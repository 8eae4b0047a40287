"""Outputs as exporters lay them out, with known boxes in them, and ONNX files that give such outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, NDArray[np.float32]]
Corners = tuple[float, float, float, float]

_PRIORS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
_V5_ANCHORS = {
    8: [(4, 5), (8, 10), (13, 16)],
    16: [(23, 29), (43, 55), (73, 105)],
    32: [(146, 217), (231, 300), (335, 433)],
}
_QUIET_LOGIT = -12.0


@dataclass(frozen=True, slots=True)
class Put:
    """A box and its score, and where its score went: (output, index)."""

    box: Corners
    score: float
    at: tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Follow:
    """A value that depends on the picture."""

    at: tuple[str, tuple[int, ...]]
    gain: float
    offset: float


def _cells(width: int, height: int, strides: Sequence[int]) -> int:
    return sum(-(-width // s) * -(-height // s) for s in strides)


def _centred(box: Corners) -> Corners:
    x0, y0, x1, y1 = box
    return ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


class Scrfd:
    """`strides` 8, 16, 32 with two anchors a cell, or five strides with one."""

    def __init__(self, width: int, height: int, strides: Sequence[int] = (8, 16, 32)) -> None:
        self.width, self.strides, self.anchors = width, strides, 2 if len(strides) == 3 else 1
        self.arrays: Arrays = {}
        for part, values in (("score", 1), ("bbox", 4), ("kps", 10)):
            for s in strides:
                rows = _cells(width, height, [s]) * self.anchors
                self.arrays[f"{part}_{s}"] = np.zeros((1, rows, values), np.float32)

    def put(self, box: Corners, score: float) -> Put:
        cx, cy, w, h = _centred(box)
        s = max([self.strides[0], *(each for each in self.strides if 2 * each <= min(w, h))])
        x, y = int(cx // s), int(cy // s)
        row = (y * (self.width // s) + x) * self.anchors + self.anchors - 1
        self.arrays[f"score_{s}"][0, row, 0] = score
        sides = (x * s - box[0], y * s - box[1], box[2] - x * s, box[3] - y * s)
        self.arrays[f"bbox_{s}"][0, row] = np.array(sides) / s
        return Put(box, score, (f"score_{s}", (0, row, 0)))


class RetinaFace:
    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        rows = 2 * _cells(width, height, [8, 16, 32])
        self.arrays: Arrays = {
            "loc": np.zeros((1, rows, 4), np.float32),
            "conf": np.tile(np.array([1, 0], np.float32), (1, rows, 1)),
            "landms": np.zeros((1, rows, 10), np.float32),
        }

    def put(self, box: Corners, score: float) -> Put:
        cx, cy, w, h = _centred(box)
        s = 8 if max(w, h) < 48 else 16 if max(w, h) < 192 else 32
        before = 2 * _cells(self.width, self.height, [each for each in (8, 16, 32) if each < s])
        x, y, a = int(cx // s), int(cy // s), 1
        row, side = before + (y * -(-self.width // s) + x) * 2 + a, _PRIORS[s][a]
        px, py = (x + 0.5) * s, (y + 0.5) * s
        self.arrays["loc"][0, row] = (
            (cx - px) / side / 0.1,
            (cy - py) / side / 0.1,
            math.log(w / side) / 0.2,
            math.log(h / side) / 0.2,
        )
        self.arrays["conf"][0, row] = (1 - score, score)
        return Put(box, score, ("conf", (0, row, 1)))


class Yolov5Face:
    def __init__(self, width: int, height: int) -> None:
        self.next = 7
        rows = 3 * _cells(width, height, [8, 16, 32])
        self.arrays: Arrays = {"output": np.zeros((1, rows, 16), np.float32)}

    def put(self, box: Corners, score: float) -> Put:
        row, self.next = self.next, self.next + 5
        self.arrays["output"][0, row, :4] = _centred(box)
        self.arrays["output"][0, row, [4, 15]] = (1, score)
        return Put(box, score, ("output", (0, row, 15)))


class Yolov5FaceRaw:
    def __init__(self, width: int, height: int) -> None:
        self.arrays: Arrays = {
            f"stride_{s}": np.full((1, 3, height // s, width // s, 16), _QUIET_LOGIT, np.float32)
            for s in (8, 16, 32)
        }

    def put(self, box: Corners, score: float) -> Put:
        cx, cy, w, h = _centred(box)
        s, a, aw, ah = next(
            (s, a, aw, ah)
            for s, anchors in _V5_ANCHORS.items()
            for a, (aw, ah) in enumerate(anchors)
            if w < 3 * aw and h < 3 * ah
        )
        x, y = int(cx // s), int(cy // s)
        at = self.arrays[f"stride_{s}"][0, a, y, x]
        at[:4] = [
            _logit((cx / s - x + 0.5) / 2),
            _logit((cy / s - y + 0.5) / 2),
            _logit(math.sqrt(w / aw) / 2),
            _logit(math.sqrt(h / ah) / 2),
        ]
        at[4], at[15] = 20.0, _logit(score)
        return Put(box, score, (f"stride_{s}", (0, a, y, x, 15)))


class Yolov8:
    """`classes` of the model, then `keypoints` values, which hold pixels."""

    def __init__(
        self, width: int, height: int, classes: int = 1, keypoints: int = 0, channel: int = 0
    ) -> None:
        self.next, self.channel = 3, channel
        shape = (1, 4 + classes + keypoints, _cells(width, height, [8, 16, 32]))
        self.arrays: Arrays = {"output0": np.zeros(shape, np.float32)}
        self.arrays["output0"][0, 4 + classes :] = 300.0

    def put(self, box: Corners, score: float) -> Put:
        column, self.next = self.next, self.next + 11
        self.arrays["output0"][0, :4, column] = _centred(box)
        self.arrays["output0"][0, 4 + self.channel, column] = score
        return Put(box, score, ("output0", (0, 4 + self.channel, column)))


Export = Scrfd | RetinaFace | Yolov5Face | Yolov5FaceRaw | Yolov8
EXPORTS: dict[str, Callable[[int, int], Export]] = {
    "scrfd": Scrfd,
    "retinaface": RetinaFace,
    "yolov5_face": Yolov5Face,
    "yolov5_face_raw": Yolov5FaceRaw,
    "yolov8": Yolov8,
}


def model_giving(
    size: tuple[int, int],
    arrays: Mapping[str, NDArray[np.float32]],
    *,
    follows: Sequence[Follow] = (),
    dtype: int = TensorProto.FLOAT,
    metadata: Mapping[str, str] | None = None,
    batch: int = 1,
) -> bytes:
    """A model of fixed `size` (width, height) that always gives `arrays`.

    Args:
        follows: where it gives the mean of the input's first channel times gain plus offset instead.
    """
    real = "image" if dtype == TensorProto.FLOAT else "real"
    nodes = [] if real == "image" else [helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT)]
    nodes += [
        helper.make_node("GlobalAveragePool", [real], ["pooled"]),
        helper.make_node("Slice", ["pooled", "zero", "one", "axis"], ["first"]),
        helper.make_node("Reshape", ["first", "one"], ["mean"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    outputs = []
    for name, values in arrays.items():
        base, gain = values.copy(), np.zeros_like(values)
        for each in follows:
            if each.at[0] == name:
                base[each.at[1]], gain[each.at[1]] = each.offset, each.gain
        constants += [
            numpy_helper.from_array(base, f"{name}.base"),
            numpy_helper.from_array(gain, f"{name}.gain"),
        ]
        nodes += [
            helper.make_node("Mul", ["mean", f"{name}.gain"], [f"{name}.part"]),
            helper.make_node("Add", [f"{name}.part", f"{name}.base"], [name]),
        ]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(values.shape)))
    image = helper.make_tensor_value_info("image", dtype, [batch, 3, size[1], size[0]])
    return _serialised(nodes, [image], outputs, constants, metadata)


def scrfd_of_any_size() -> bytes:
    """As insightface exports: heads of convolutions, sizes free, outputs named by number, no batch.

    A cell's second anchor scores sigmoid(0.2 * green at its centre - 20); its box reaches one stride to every
    side of the anchor. Input: (pixel - 127.5) / 128, RGB.
    """
    nodes: list[Any] = []
    constants = []
    outputs = []
    number = 440
    for part, values in (("score", 1), ("bbox", 4)):
        for s in (8, 16, 32):
            weight = np.zeros((2 * values, 3, s, s), np.float32)
            bias = np.full(2 * values, -12.0 if part == "score" else 1.0, np.float32)
            if part == "score":
                weight[1, 1, s // 2, s // 2], bias[1] = 0.2 * 128, 0.2 * 127.5 - 20
            constants += [
                numpy_helper.from_array(weight, f"w{number}"),
                numpy_helper.from_array(bias, f"b{number}"),
                numpy_helper.from_array(np.array([-1, values], np.int64), f"s{number}"),
            ]
            last = f"{number}" if part == "bbox" else f"l{number}"
            nodes += [
                helper.make_node(
                    "Conv",
                    ["input.1", f"w{number}", f"b{number}"],
                    [f"c{number}"],
                    kernel_shape=[s, s],
                    strides=[s, s],
                ),
                helper.make_node("Transpose", [f"c{number}"], [f"t{number}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"t{number}", f"s{number}"], [last]),
            ]
            if part == "score":
                nodes.append(helper.make_node("Sigmoid", [last], [f"{number}"]))
            outputs.append(
                helper.make_tensor_value_info(f"{number}", TensorProto.FLOAT, [f"n{number}", values])
            )
            number += 3
    image = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, "?", "?"])
    return _serialised(nodes, [image], outputs, constants, None)


def _serialised(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    constants: list[Any],
    metadata: Mapping[str, str] | None,
) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
