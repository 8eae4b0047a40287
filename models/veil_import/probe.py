"""Looks at a model with ONNX Runtime alone: what it takes, and what it really gives for a picture."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from veil.detect.onnx import session_errors
from veil.errors import BundleError
from veil_import.kinds import Triple

Size = tuple[int, int]
Shape = tuple[int, ...]
_ERRORS_ONLY = 3
_CHANNELS = 3
_DTYPES: dict[str, Literal["uint8", "float32"]] = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What exporters write into the file, as far as they do.

    Attributes:
        classes: names of the model's classes by index; empty where the file does not say.
        task: "detect", "pose"; empty where the file does not say.
        license, author: the words of the file.
    """

    classes: Mapping[int, str]
    task: str
    license: str
    author: str


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The picture tensor as declared: `size` is width, height, None where any size is taken."""

    name: str
    dtype: Literal["uint8", "float32"]
    size: Size | None


class Probe:
    """A model in a session of one thread.

    Raises BundleError for what is no ONNX model, or takes anything but one picture [1, 3, H, W].
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime as ort

        self._failures = session_errors()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session: Any = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except self._failures as error:
            raise BundleError(
                f"the model cannot be loaded: {error}",
                hint="It must be one ONNX file with its weights inside, for the ONNX Runtime installed here.",
            ) from error
        self.input = _model_input(self._session.get_inputs())
        self.metadata = _metadata(self._session.get_modelmeta().custom_metadata_map)

    def run(self, size: Size, mean: Triple, scale: float) -> dict[str, NDArray[Any]]:
        """All outputs, in the model's order, for a picture of noise around grey.

        Args:
            size: width, height.
            mean, scale: of a float32 input: (pixel - mean) * scale.

        Raises BundleError where the model does not run at this size.
        """
        width, height = size
        pixels = np.random.default_rng(0).integers(64, 192, (1, _CHANNELS, height, width), np.uint8)
        offsets = np.array(mean, np.float32)[:, None, None]
        real = (pixels - offsets) * np.float32(scale)
        image = pixels if self.input.dtype == "uint8" else real
        names = [output.name for output in self._session.get_outputs()]
        try:
            found = self._session.run(names, {self.input.name: image})
        except self._failures as error:
            raise BundleError(
                f"the model does not run on a picture of {width}x{height}: {error}",
                hint="Export it with the size that it is to run at, or choose another --size.",
            ) from error
        return {name: np.asarray(values) for name, values in zip(names, found, strict=True)}


def _model_input(inputs: list[Any]) -> ModelInput:
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise BundleError(
            f"the model takes {', '.join(f'{each.name} {each.shape}' for each in inputs)}, not one picture.",
            hint="Export it with one input of [1, 3, height, width].",
        )
    name, (batch, channels, height, width), kind = inputs[0].name, inputs[0].shape, inputs[0].type
    if kind not in _DTYPES:
        raise BundleError(
            f"the model takes pictures of {kind}.", hint="Export it with a float32 or uint8 input."
        )
    if isinstance(channels, int) and channels != _CHANNELS:
        raise BundleError(
            f"the model takes {inputs[0].shape}, not [1, 3, height, width].",
            hint="Export it with channels first.",
        )
    if isinstance(batch, int) and batch != 1:
        raise BundleError(
            f"the model takes {batch} pictures at a time.", hint="Export it for one, or try --sizes any."
        )
    if isinstance(height, int) and isinstance(width, int):
        return ModelInput(name, _DTYPES[kind], (width, height))
    if isinstance(height, int) or isinstance(width, int):
        raise BundleError(
            f"the model takes {width}x{height}: one side fixed and the other free.",
            hint="Export it with both fixed or both free, or try --sizes any.",
        )
    return ModelInput(name, _DTYPES[kind], None)


def _metadata(table: Mapping[str, str]) -> Metadata:
    try:
        names = ast.literal_eval(table.get("names", "{}"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = {}
    if isinstance(names, list):
        names = dict(enumerate(names))
    valid = isinstance(names, dict) and all(isinstance(index, int) for index in names)
    classes = {index: str(name) for index, name in names.items()} if valid else {}
    return Metadata(classes, table.get("task", ""), table.get("license", ""), table.get("author", ""))
