"""ONNX files written from nodes and folded weights: float, or INT8 as QDQ with U8 activations and S8
weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from veil_models.graph import IMAGE, Node, Op, channels, outputs, padding
from veil_models.quantized import Affine, Folded, integers

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

    def model(self, nodes: list[Node], size: tuple[int, int] | None) -> Any:
        known = channels(nodes)
        height, width = (size[1], size[0]) if size else ("H", "W")
        image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, 3, height, width])
        results = []
        for name in outputs():
            stride = int(name.split("_")[1])
            side = [v // stride if isinstance(v, int) else f"{v}/{stride}" for v in (height, width)]
            shape = [1, known[name], *side]
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
    """The INT8 model; the picture itself is the first quantized tensor (scale 1/255, zero point 0).

    A ReLU is no node: its output's grid starts at 0 (zero point 0), so that saturation is the ReLU.
    """
    w = _Writer()
    for name, g in grid.items():
        w.constant(f"{name}.scale", np.array(g.scale, np.float32))
        w.constant(f"{name}.zero", np.array(g.zero_point, np.uint8))
    stored = {IMAGE: IMAGE}

    def real(name: str, to: str) -> str:
        return w.add("DequantizeLinear", [stored[name], f"{name}.scale", f"{name}.zero"], to)

    for node in nodes:
        # every reader gets a dequantize of its own: that is the pattern the runtime fuses
        inputs = [real(i, f"{node.name}.in{k}") for k, i in enumerate(node.inputs)]
        out = f"{node.name}.real"
        if node.op is Op.CONV:
            q = integers(weights[node.name], grid[node.inputs[0]].scale)
            zeros = np.zeros(len(q.scale))
            names = [w.constant(f"{node.name}.w", q.weight), w.constant(f"{node.name}.ws", q.scale)]
            zero = w.constant(f"{node.name}.wz", zeros.astype(np.int8))
            weight = w.add("DequantizeLinear", [*names, zero], f"{node.name}.wf", axis=0)
            names = [
                w.constant(f"{node.name}.b", q.bias),
                w.constant(f"{node.name}.bs", (q.scale * np.float32(grid[node.inputs[0]].scale))),
            ]
            zero = w.constant(f"{node.name}.bz", zeros.astype(np.int32))
            bias = w.add("DequantizeLinear", [*names, zero], f"{node.name}.bf", axis=0)
            w.add("Conv", [inputs[0], weight, bias], out, **_conv_attributes(node))
        elif node.op is Op.ADD:
            w.add("Add", inputs, out)
        else:
            _upsample(w, inputs[0], out)
        stored[node.name] = w.add(
            "QuantizeLinear", [out, f"{node.name}.scale", f"{node.name}.zero"], f"{node.name}.q"
        )
    for name in outputs():
        real(name, name)
    return w.model(nodes, size)
