"""Bundles made in code: a model whose answers are known from the pixels it sees.

`spot_model` fires in every cell whose centre pixel is bright: class 0 where green leads, class 1 where red
does. Its boxes reach one stride to each side of the cell's centre.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDE = 8
SIZE = (640, 384)


def _session_model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> bytes:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def spot_model(
    size: tuple[int, int] | None = None, *, broken: float | None = None, layout: str = "nchw"
) -> bytes:
    """uint8 [1, 3, H, W] RGB to `cls_8` [1, 2, H/8, W/8] and `box_8` [1, 4, H/8, W/8].

    Args:
        size: width, height of a model of fixed size; None for any.
        broken: a value (NaN, infinity) added to every logit.
        layout: of the picture; `nhwc` for [1, H, W, 3].
    """
    weight = np.zeros((2, 3, STRIDE, STRIDE), np.float32)
    # Logit = 0.2 * leading - 0.1 * other - 10, from the pixel at the cell's centre.
    weight[0, :, 4, 4] = (-0.1, 0.2, 0.0)
    weight[1, :, 4, 4] = (0.2, -0.1, 0.0)
    bias = np.full(2, -10.0, np.float32)
    if broken is not None:
        bias += np.float32(broken)
    constants = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(bias, "b"),
        numpy_helper.from_array(np.zeros((4, 3, STRIDE, STRIDE), np.float32), "bw"),
        numpy_helper.from_array(np.ones(4, np.float32), "bb"),
    ]
    conv: dict[str, Any] = {"kernel_shape": [STRIDE, STRIDE], "strides": [STRIDE, STRIDE]}
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["real", "w", "b"], ["cls_8"], **conv),
        helper.make_node("Conv", ["real", "bw", "bb"], ["box_8"], **conv),
    ]
    height, width = (size[1], size[0]) if size else ("H", "W")
    shape: list[int | str] = [1, 3, height, width]
    if layout == "nhwc":
        shape = [1, height, width, 3]
        nodes[0].output[0] = "packed"
        nodes.insert(1, helper.make_node("Transpose", ["packed"], ["real"], perm=[0, 3, 1, 2]))
    small = [side // STRIDE if isinstance(side, int) else f"{side}8" for side in (height, width)]
    return _session_model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info("cls_8", TensorProto.FLOAT, [1, 2, *small]),
            helper.make_tensor_value_info("box_8", TensorProto.FLOAT, [1, 4, *small]),
        ],
        constants,
    )


def sum_model() -> bytes:
    """uint8 [1, 3, H, W] RGB to `cls_8`: red and green of each cell's centre pixel added, by integers whose
    products need 17 bits together; `box_8` is zero.
    """
    weight = np.zeros((6, 3, STRIDE, STRIDE), np.int8)
    weight[:2, :2, 4, 4] = 127
    known: dict[str, Any] = {
        "one": np.float32(1),
        "two": np.float32(2),
        "zero": np.uint8(0),
        "w": weight,
        "ws": np.full(6, 1 / 127, np.float32),
        "wz": np.zeros(6, np.int8),
        "b": np.zeros(6, np.int32),
        "bz": np.zeros(6, np.int32),
        "at": np.array([2, 4], np.int64),
    }
    conv: dict[str, Any] = {"kernel_shape": [STRIDE, STRIDE], "strides": [STRIDE, STRIDE]}
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "one", "zero"], ["real"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["weight"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "ws", "bz"], ["bias"], axis=0),
        helper.make_node("Conv", ["real", "weight", "bias"], ["sum"], **conv),
        helper.make_node("QuantizeLinear", ["sum", "two", "zero"], ["stored"]),
        helper.make_node("DequantizeLinear", ["stored", "two", "zero"], ["all"]),
        helper.make_node("Split", ["all", "at"], ["cls_8", "box_8"], axis=1),
    ]
    sides = ["H8", "W8"]
    return _session_model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, "H", "W"])],
        [
            helper.make_tensor_value_info("cls_8", TensorProto.FLOAT, [1, 2, *sides]),
            helper.make_tensor_value_info("box_8", TensorProto.FLOAT, [1, 4, *sides]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in known.items()],
    )


MANIFEST = """\
schema = 1
name = "spot"
version = "0.1.0"
license = "Apache-2.0"
classes = ["face", "plate"]
[input]
color = "rgb"
dtype = "uint8"
multiple = 32
size = [640, 384]
onnx_dynamic = true
tflite_size = [640, 384]
[decoder]
kind = "ltrb_grid"
strides = [8]
nms_iou = 0.45
[thresholds.face]
score = 0.30
low = 0.12
[thresholds.plate]
score = 0.30
low = 0.12
[selftest]
min_recall = 0.9
"""

YUNET = """\
schema = 1
name = "yunet"
version = "1.0.0"
license = "BSD-3-Clause"
classes = ["face"]
[input]
color = "bgr"
dtype = "float32"
multiple = 32
size = [640, 640]
[decoder]
kind = "yunet"
strides = [8, 16, 32]
nms_iou = 0.4
[thresholds.face]
score = 0.5
low = 0.3
"""

CENTERFACE = """\
schema = 1
name = "centerface"
version = "1.0.0"
license = "MIT"
classes = ["face"]
[input]
color = "rgb"
dtype = "float32"
multiple = 32
size = [640, 384]
onnx_dynamic = true
[decoder]
kind = "centerface"
strides = [4]
nms_iou = 0.3
[thresholds.face]
score = 0.3
low = 0.2
"""


def write_bundle(folder: Path, manifest: str, files: Mapping[str, bytes]) -> Path:
    """A bundle whose [files] are those given."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = ["[files]"]
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        listed.append(f'"{name}" = "{hashlib.sha256(data).hexdigest()}"')
    (folder / "bundle.toml").write_text(manifest + "\n".join(listed) + "\n")
    return folder
