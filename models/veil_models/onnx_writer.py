"""ONNX files written from nodes and folded weights: float, or INT8 as QDQ with U8 activations and S8
weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from veil_models.graph import IMAGE, Node, Op, channels, outputs, padding
from veil_models.quantized import PRODUCTS, Affine, Folded, integers

OPSET = 17


class _Writer:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}:{output}", **attributes))
        return output

    def model(self, nodes: list[Node], size: tuple[int, int] | None, *, colours_last: bool = False) -> Any:
        known = channels(nodes)
        height, width = (size[1], size[0]) if size else ("H", "W")
        sides = [1, height, width, 3] if colours_last else [1, 3, height, width]
        image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, sides)
        results = []
        for name in outputs():
            stride = int(name.split("_")[1])
            cells = [v // stride if isinstance(v, int) else f"{v}/{stride}" for v in (height, width)]
            shape = [1, known[name], *cells]
            results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        graph = helper.make_graph(self.nodes, "veil", [image], results, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="veil_models"
        )
        model.ir_version = 8
        return model


def _conv_attributes(node: Node) -> dict[str, Any]:
    return {
        "kernel_shape": [node.kernel] * 2,
        "strides": [node.stride] * 2,
        "dilations": [node.dilation] * 2,
        "pads": [padding(node)] * 4,
    }


def write_float(nodes: list[Node], weights: Mapping[str, Folded], size: tuple[int, int] | None = None) -> Any:
    """The float model (an onnx.ModelProto): `image` uint8 [1, 3, H, W] RGB in, logits and distances out."""
    w = _Writer()
    known = {
        IMAGE: w.add(
            "Mul",
            [
                w.add("Cast", [IMAGE], "image_f", to=TensorProto.FLOAT),
                w.constant("unit", np.array(1 / 255, np.float32)),
            ],
            "image_n",
        )
    }
    for node in nodes:
        inputs = [known[i] for i in node.inputs]
        out = f"{node.name}_raw" if node.relu else node.name
        if node.op is Op.CONV:
            folded = weights[node.name]
            names = [w.constant(f"{node.name}.w", folded.weight), w.constant(f"{node.name}.b", folded.bias)]
            w.add("Conv", inputs + names, out, **_conv_attributes(node))
        elif node.op is Op.ADD:
            w.add("Add", inputs, out)
        else:
            _upsample(w, inputs[0], out)
        known[node.name] = w.add("Relu", [out], node.name) if node.relu else out
    return w.model(nodes, size)


def _upsample(w: _Writer, source: str, out: str) -> None:
    if not any(c.name == "twice" for c in w.constants):
        w.constant("twice", np.array([1, 1, 2, 2], np.float32))
    w.add(
        "Resize",
        [source, "", "twice"],
        out,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def write_int8(
    nodes: list[Node],
    weights: Mapping[str, Folded],
    grid: Mapping[str, Affine],
    size: tuple[int, int] | None = None,
) -> Any:
    """The INT8 model: `image` uint8 [1, H, W, 3] RGB in, the first quantized tensor itself (scale 1/255, zero
    point 0).

    A ReLU is no node: its output's grid starts at 0 (zero point 0), so that saturation is the ReLU.
    """
    w = _Writer()
    known = channels(nodes)
    for name, g in grid.items():
        w.constant(f"{name}.scale", np.array(g.scale, np.float32))
        w.constant(f"{name}.zero", np.array(g.zero_point, np.uint8))
    stored = {IMAGE: IMAGE}

    def real(name: str, to: str) -> str:
        return w.add("DequantizeLinear", [stored[name], f"{name}.scale", f"{name}.zero"], to)

    for node in nodes:
        if node.op is Op.UPSAMPLE:
            stored[node.name] = _twice(w, stored[node.inputs[0]], node.name, known[node.name])
            continue
        attributes = {} if node.op is Op.ADD else _conv_attributes(node)
        is_first = node.inputs == (IMAGE,)
        if is_first:
            stored[IMAGE] = _blocks(w, node)
            attributes |= _block_attributes(node)
        # every reader gets a dequantize of its own: that is the pattern the runtime fuses
        inputs = [real(i, f"{node.name}.in{k}") for k, i in enumerate(node.inputs)]
        out = f"{node.name}.real"
        if node.op is Op.CONV:
            q = integers(weights[node.name], grid[node.inputs[0]].scale)
            zeros = np.zeros(len(q.scale))
            weight = blocked(q.weight, node.stride) if is_first else q.weight
            names = [w.constant(f"{node.name}.w", weight), w.constant(f"{node.name}.ws", q.scale)]
            zero = w.constant(f"{node.name}.wz", zeros.astype(np.int8))
            factors = w.add("DequantizeLinear", [*names, zero], f"{node.name}.wf", axis=0)
            names = [
                w.constant(f"{node.name}.b", q.bias),
                w.constant(f"{node.name}.bs", (q.scale * np.float32(grid[node.inputs[0]].scale))),
            ]
            zero = w.constant(f"{node.name}.bz", zeros.astype(np.int32))
            bias = w.add("DequantizeLinear", [*names, zero], f"{node.name}.bf", axis=0)
            w.add("Conv", [inputs[0], factors, bias], out, **attributes)
        else:
            w.add("Add", inputs, out)
        stored[node.name] = w.add(
            "QuantizeLinear", [out, f"{node.name}.scale", f"{node.name}.zero"], f"{node.name}.q"
        )
    for name in outputs():
        real(name, name)
    model = w.model(nodes, size, colours_last=True)
    helper.set_model_props(model, dict([PRODUCTS]))
    return model


def _blocks(w: _Writer, stem: Node) -> str:
    """The picture with each S pixels beside each other, S the stride, as one pixel of 3 S colours.

    Runtimes gather a convolution's input some channels at a time; three at a time took them as long as
    computing. Colours last, this regrouping moves nothing. The columns of zeros that are the convolution's
    padding are written here, because they fill blocks.
    """
    pads = np.array([0, 0, padding(stem), 0, 0, 0, _block_columns(stem) - padding(stem), 0], np.int64)
    names = [IMAGE, w.constant("image.pads", pads), w.constant("image.black", np.array(0, np.uint8))]
    padded = w.add("Pad", names, "image.padded")
    sides = w.constant("image.sides", np.array([0, 0, -1, 3 * stem.stride], np.int64))
    blocks = w.add("Reshape", [padded, sides], "image.blocks")
    return w.add("Transpose", [blocks], "image.q", perm=[0, 3, 1, 2])


def _block_columns(stem: Node) -> int:
    """Columns of zeros left and right: a kernel covers whole blocks."""
    return -(-stem.kernel // stem.stride) * stem.stride - stem.stride


def _block_attributes(stem: Node) -> dict[str, Any]:
    pad = padding(stem)
    return {
        "kernel_shape": [stem.kernel, -(-stem.kernel // stem.stride)],
        "strides": [stem.stride, 1],
        "pads": [pad, 0, pad, 0],
    }


def blocked(weight: npt.NDArray[np.int8], step: int) -> npt.NDArray[np.int8]:
    """[out, in, k, k] for blocks of `step` columns: [out, step in, k, blocks], zero where no weight was."""
    out, depth, rows, columns = weight.shape
    blocks = -(-columns // step)
    wide = np.zeros((out, depth, rows, blocks * step), np.int8)
    wide[..., :columns] = weight
    split = wide.reshape(out, depth, rows, blocks, step)
    return split.transpose(0, 4, 1, 2, 3).reshape(out, step * depth, rows, blocks)


def _twice(w: _Writer, source: str, name: str, depth: int) -> str:
    """Both sides doubled, nearest: pixels, then rows beside themselves. A Resize of integers with colours
    last, as the runtime has them, takes three times as long."""

    def shape(label: str, *sides: int) -> str:
        known = f"{label}.{depth}" if depth in sides else label
        if not any(c.name == known for c in w.constants):
            w.constant(known, np.array(sides, np.int64))
        return known

    last = w.add("Transpose", [source], f"{name}.last", perm=[0, 2, 3, 1])
    pixels = w.add("Concat", [last, last], f"{name}.pixels", axis=3)
    wide = w.add("Reshape", [pixels, shape("wide", 0, 0, -1, depth)], f"{name}.wide")
    rows = w.add("Squeeze", [wide, shape("first", 0)], f"{name}.rows")
    one = w.add("Unsqueeze", [rows, shape("second", 1)], f"{name}.one")
    two = w.add("Concat", [one, one], f"{name}.two", axis=1)
    high = w.add("Reshape", [two, shape("high", 1, -1, 0, depth)], f"{name}.high")
    return w.add("Transpose", [high], f"{name}.q", perm=[0, 3, 1, 2])
