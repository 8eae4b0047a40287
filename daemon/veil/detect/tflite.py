"""LiteRT (TFLite): fixed size, channels last, integers with a scale and a zero point."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veil.detect.bundle import Bundle
from veil.detect.runtime import Outputs, OutputShapes, Shapes, Tensor, TensorSpec
from veil.errors import BundleError, DetectorError, RuntimeMissingError

MODEL = "model.tflite"
_INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
_WRONG_MANIFEST = "The manifest does not belong to this model."


def _interpreter_module() -> Any:
    for name in _INTERPRETERS:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise RuntimeMissingError(
        "no TFLite runtime is installed.",
        hint="Install ai-edge-litert (or tflite-runtime), or set detector.runtime to onnx.",
    )


@dataclass(frozen=True, slots=True)
class _Output:
    """How one tensor of the interpreter becomes a decoder's output."""

    index: int
    scale: float
    zero: int
    channels_last: bool

    def real(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if self.scale:
            found = (values.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)
        else:
            found = values.astype(np.float32)
        return found.transpose(0, 3, 1, 2) if self.channels_last else found


class TfliteRuntime:
    """`model.tflite` of a bundle.

    Args:
        bundle: verified.
        threads: of one inference.
        shapes: of the decoder's outputs; outputs are found by name or, failing that, by shape.

    Raises:
        RuntimeMissingError: no interpreter is installed.
        BundleError: the model cannot be loaded, or does not agree with the manifest.
    """

    def __init__(self, bundle: Bundle, threads: int, shapes: OutputShapes) -> None:
        module = _interpreter_module()
        table = bundle.manifest.input
        size = table.tflite_size
        if size is None:
            raise BundleError(
                f"bundle {bundle.identity} has no input.tflite_size.",
                hint="Set detector.runtime to onnx, or choose a bundle with a TFLite model.",
            )
        try:
            self._interpreter: Any = module.Interpreter(model_content=bundle.read(MODEL), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(
                f"{MODEL} of {bundle.identity} cannot be loaded: {error}",
                hint="The bundle is broken or needs a newer TFLite runtime.",
            ) from error
        self._size = size
        inputs = self._interpreter.get_input_details()
        self._input = int(inputs[0]["index"])
        dtype = _input_dtype(bundle, inputs, size)
        self._spec = TensorSpec("nhwc", dtype, table.color, table.mean, table.scale)
        self._outputs = _match(bundle, self._interpreter.get_output_details(), shapes(*size))
        self._module = str(module.__name__).split(".", maxsplit=1)[0]

    @property
    def spec(self) -> TensorSpec:
        return self._spec

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        return self._size

    @property
    def described(self) -> str:
        return f"tflite/{self._module}"

    def run(self, image: Tensor) -> Outputs:
        try:
            self._interpreter.set_tensor(self._input, image)
            self._interpreter.invoke()
            return {
                name: output.real(self._interpreter.get_tensor(output.index))
                for name, output in self._outputs.items()
            }
        except (ValueError, RuntimeError) as error:
            raise DetectorError(f"TFLite failed: {error}") from error

    def close(self) -> None:
        self._interpreter = None


def _input_dtype(
    bundle: Bundle, inputs: list[dict[str, Any]], size: tuple[int, int]
) -> Literal["uint8", "int8", "float32"]:
    """The tensor's type. One step of an integer input's grid must be one step of a pixel."""
    shape = (1, size[1], size[0], 3)
    if len(inputs) != 1 or tuple(int(side) for side in inputs[0]["shape"]) != shape:
        raise BundleError(
            f"{MODEL} of {bundle.identity} does not take one {size[0]}x{size[1]} picture.",
            hint=_WRONG_MANIFEST,
        )
    kind = np.dtype(inputs[0]["dtype"]).name
    zero = int(inputs[0]["quantization"][1])
    declared = bundle.manifest.input.dtype
    match kind:
        case "float32" if declared == "float32":
            return "float32"
        case "uint8" if declared == "uint8" and zero == 0:
            return "uint8"
        case "int8" if declared == "uint8" and zero == -128:
            return "int8"
        case _:
            raise BundleError(
                f"{MODEL} of {bundle.identity} takes {kind} with zero point {zero}, "
                f"its manifest says {declared}.",
                hint=_WRONG_MANIFEST,
            )


def _match(bundle: Bundle, details: list[dict[str, Any]], wanted: Shapes) -> dict[str, _Output]:
    """Outputs by name where names are kept, otherwise by a shape that only one tensor has."""
    found: dict[str, _Output] = {}
    for name, shape in wanted.items():
        last = (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape
        fitting = [each for each in details if tuple(int(side) for side in each["shape"]) in {shape, last}]
        named = [each for each in fitting if name in str(each["name"])]
        candidates = named or fitting
        if len(candidates) != 1:
            raise BundleError(
                f"{MODEL} of {bundle.identity} has {len(candidates)} outputs that could be {name!r} {last}.",
                hint="The manifest's decoder does not belong to this model.",
            )
        detail = candidates[0]
        scale, zero = detail["quantization"]
        got = tuple(int(side) for side in detail["shape"])
        found[name] = _Output(int(detail["index"]), float(scale), int(zero), len(shape) == 4 and got == last)
    if len({output.index for output in found.values()}) != len(found):
        raise BundleError(
            f"{MODEL} of {bundle.identity}: one output was taken for two.",
            hint="Name the outputs as the decoder does.",
        )
    return found
