"""The spot model of `bundles` as an INT8 TFLite file, written with LiteRT's own schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

STRIDE = 8
INT32, INT8 = 2, 9
WEIGHT_SCALE = 0.1


def spot_tflite(
    size: tuple[int, int] = (640, 384),
    *,
    names: Sequence[str] = ("cls_8", "box_8"),
    zero_point: int = -128,
    classes: int = 2,
) -> bytes:
    """int8 [1, H, W, 3] to int8 logits [1, H/8, W/8, classes] and distances [1, H/8, W/8, 4]."""
    model = _Model()
    width, height = size
    image = model.tensor("image", (1, height, width, 3), INT8, 1.0, zero_point)
    weight = np.zeros((classes, STRIDE, STRIDE, 3), np.int8)
    weight[0, 4, 4] = (-1, 2, 0)
    if classes > 1:
        weight[1, 4, 4] = (2, -1, 0)
    small = (1, height // STRIDE, width // STRIDE)
    model.convolution(image, weight, [-100] * classes, names[0], (*small, classes), 0.4, 0)
    nothing = np.zeros((4, STRIDE, STRIDE, 3), np.int8)
    model.convolution(image, nothing, [10] * 4, names[1], (*small, 4), 1 / 16, -128)
    return model.packed(image)


class _Model:
    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.outputs: list[int] = []

    def tensor(
        self, name: str, shape: Sequence[int], kind: int, scale: float, zero: int, data: bytes = b""
    ) -> int:
        buffer = 0
        if data:
            buffer = len(self.buffers)
            self.buffers.append(schema.BufferT(data=list(data)))
        grid = schema.QuantizationParametersT(scale=[scale], zeroPoint=[zero])
        self.tensors.append(
            schema.TensorT(
                shape=list(shape),
                type=kind,
                buffer=buffer,
                name=name,
                quantization=grid,
                hasRank=True,
            )
        )
        return len(self.tensors) - 1

    def convolution(
        self,
        source: int,
        weight: np.ndarray[Any, np.dtype[np.int8]],
        bias: Sequence[int],
        name: str,
        shape: Sequence[int],
        scale: float,
        zero: int,
    ) -> None:
        w = self.tensor(f"{name}.w", weight.shape, INT8, WEIGHT_SCALE, 0, weight.tobytes())
        b = self.tensor(
            f"{name}.b", (len(bias),), INT32, WEIGHT_SCALE, 0, np.asarray(bias, np.int32).tobytes()
        )
        out = self.tensor(name, shape, INT8, scale, zero)
        options = schema.Conv2DOptionsT(padding=1, strideW=STRIDE, strideH=STRIDE)
        self.operators.append(
            schema.OperatorT(
                opcodeIndex=0,
                inputs=[source, w, b],
                outputs=[out],
                builtinOptionsType=schema.BuiltinOptions.Conv2DOptions,
                builtinOptions=options,
            )
        )
        self.outputs.append(out)

    def packed(self, image: int) -> bytes:
        graph = schema.SubGraphT(
            tensors=self.tensors,
            inputs=[image],
            outputs=self.outputs,
            operators=self.operators,
            name="main",
        )
        code = schema.OperatorCodeT(deprecatedBuiltinCode=3, builtinCode=3, version=3)
        model = schema.ModelT(version=3, operatorCodes=[code], subgraphs=[graph], buffers=self.buffers)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
