"""Full-integer TFLite files written straight from nodes and folded weights, with the ONNX file's own grids.

No converter is involved: the same integers go into both formats. Schema: LiteRT's schema_py_generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from veil_models.graph import IMAGE, Node, Op, channels, outputs, padding
from veil_models.quantized import Affine, Folded, integers

_VERSIONS = {"CONV_2D": 3, "ADD": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "PAD": 2, "QUANTIZE": 2}


class _Writer:
    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = 3
        self.model.description = "veil_models"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph: Any = schema.SubGraphT()
        self.graph.name = "veil"
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]
        self._codes: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        shape: list[int],
        kind: int,
        *,
        scale: npt.ArrayLike | None = None,
        zero: npt.ArrayLike = 0,
        data: npt.NDArray[Any] | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, 0
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32))
            q.zeroPoint = np.broadcast_to(np.asarray(zero, np.int64), q.scale.shape).copy()
            q.quantizedDimension = 0
            tensor.quantization = q
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: str, inputs: list[int], output: int, options: Any = None) -> None:
        if code not in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = entry.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, code)
            entry.version = _VERSIONS[code]
            self._codes[code] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(entry)
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = self._codes[code], inputs, [output]
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
        self.graph.operators.append(op)

    def finish(self) -> bytes:
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def write_tflite(
    nodes: list[Node],
    weights: Mapping[str, Folded],
    grid: Mapping[str, Affine],
    size: tuple[int, int],
) -> bytes:
    """The model for pictures of `size` (width, height): `image` uint8 [1, H, W, 3] RGB in; `cls_S`, `box_S`
    int8 [1, H/S, W/S, channels] out, with the scale and zero point of each in the file."""
    w = _Writer()
    kinds = schema.TensorType
    known = channels(nodes)
    shapes: dict[str, list[int]] = {IMAGE: [1, size[1], size[0], 3]}
    tensors: dict[str, int] = {}

    def activation(name: str, label: str, shape: list[int]) -> int:
        g = grid[name]
        return w.tensor(label, shape, kinds.INT8, scale=g.scale, zero=g.zero_point - 128)

    image = w.tensor(IMAGE, shapes[IMAGE], kinds.UINT8, scale=grid[IMAGE].scale, zero=0)
    tensors[IMAGE] = activation(IMAGE, "image_int8", shapes[IMAGE])
    w.operator("QUANTIZE", [image], tensors[IMAGE], schema.QuantizeOptionsT())
    for node in nodes:
        _, height, width, depth = shapes[node.inputs[0]]
        inputs = [tensors[i] for i in node.inputs]
        relu = schema.ActivationFunctionType.RELU if node.relu else schema.ActivationFunctionType.NONE
        if node.op is Op.CONV:
            shape = [1, height // node.stride, width // node.stride, node.channels]
        elif node.op is Op.ADD:
            shape = [1, height, width, depth]
        else:
            shape = [1, height * 2, width * 2, depth]
        shapes[node.name] = shape
        out = tensors[node.name] = activation(node.name, node.name, shape)
        if node.op is Op.CONV:
            q = integers(weights[node.name], grid[node.inputs[0]].scale)
            source = inputs[0]
            options: Any = schema.Conv2DOptionsT()
            options.strideW = options.strideH = node.stride
            options.dilationWFactor = options.dilationHFactor = node.dilation
            options.fusedActivationFunction = relu
            options.padding = schema.Padding.SAME
            if node.stride == 2:  # SAME would pad below and right, training pads above and left
                pad = np.array([[0, 0], [padding(node), 0], [padding(node), 0], [0, 0]], np.int32)
                grown = [1, height + padding(node), width + padding(node), depth]
                pads = w.tensor(f"{node.name}.pads", [4, 2], kinds.INT32, data=pad)
                padded = activation(node.inputs[0], f"{node.name}.padded", grown)
                w.operator("PAD", [source, pads], padded, schema.PadOptionsT())
                source, options.padding = padded, schema.Padding.VALID
            kernel = np.ascontiguousarray(q.weight.transpose(0, 2, 3, 1))
            weight = w.tensor(f"{node.name}.w", list(kernel.shape), kinds.INT8, scale=q.scale, data=kernel)
            step = q.scale * np.float32(grid[node.inputs[0]].scale)
            bias = w.tensor(f"{node.name}.b", [known[node.name]], kinds.INT32, scale=step, data=q.bias)
            w.operator("CONV_2D", [source, weight, bias], out, options)
        elif node.op is Op.ADD:
            options = schema.AddOptionsT()
            options.fusedActivationFunction = relu
            w.operator("ADD", inputs, out, options)
        else:
            target = np.array(shape[1:3], np.int32)
            sides = w.tensor(f"{node.name}.size", [2], kinds.INT32, data=target)
            w.operator(
                "RESIZE_NEAREST_NEIGHBOR", [inputs[0], sides], out, schema.ResizeNearestNeighborOptionsT()
            )
    w.graph.inputs = [image]
    w.graph.outputs = [tensors[name] for name in outputs()]
    return w.finish()
