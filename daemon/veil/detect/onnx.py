"""ONNX Runtime. A provider is asked for by name and refused by name: never a silent way back to the CPU."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from veil.detect.bundle import Bundle
from veil.detect.runtime import Outputs, OutputShapes, Tensor, TensorSpec
from veil.errors import BundleError, DetectorError, RuntimeMissingError

MODEL = "model.onnx"
Provider = Literal["cpu", "openvino", "tensorrt", "cuda"]

_PROVIDERS: dict[Provider, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "openvino": ("OpenVINOExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
}
_PACKAGES: dict[Provider, str] = {
    "cpu": "onnxruntime",
    "openvino": "onnxruntime-openvino",
    "tensorrt": "onnxruntime-gpu together with TensorRT",
    "cuda": "onnxruntime-gpu together with CUDA",
}
_ERRORS_ONLY = 3
_COLOURS = 3


def session_errors() -> tuple[type[Exception], ...]:
    """The runtime's exceptions have no common base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [value for value in vars(state).values() if isinstance(value, type)]
    own = [kind for kind in kinds if issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


class OnnxRuntime:
    """`model.onnx` of a bundle in an ONNX Runtime session.

    Args:
        bundle: verified.
        provider: execution provider; only it, with the CPU for operations that it does not have.
        threads: of one inference. Threads do not spin while they wait.

    Raises:
        RuntimeMissingError: the provider is not there or does not start.
        BundleError: the model cannot be loaded, or does not agree with the manifest.
    """

    def __init__(self, bundle: Bundle, provider: Provider, threads: int, shapes: OutputShapes) -> None:
        # Builds for Linux make an identity of the device below HOME and collect telemetry, unless this is set
        # before they are loaded.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise RuntimeMissingError(
                "ONNX Runtime is not installed.", hint="Install onnxruntime, or set detector.runtime."
            ) from error
        self._failures = session_errors()
        self._session: Any = self._open(ort, bundle, provider, threads)
        table = bundle.manifest.input
        self._input = self._require_input(bundle)
        self._names = list(shapes(*table.size))
        known = {output.name for output in self._session.get_outputs()}
        renamed = bundle.manifest.decoder.outputs
        self._asked = [renamed.get(name, name) for name in self._names]
        missing = [name for name in self._asked if name not in known]
        if missing:
            raise BundleError(
                f"{MODEL} of {bundle.identity} has no output {missing[0]!r}, which its decoder reads.",
                hint="The manifest's decoder does not belong to this model.",
            )
        layout = _layout(self._session.get_inputs()[0].shape)
        self._spec = TensorSpec(layout, table.dtype, table.color, table.mean, table.scale)
        self._fixed = None if table.onnx_dynamic else table.size

    @property
    def spec(self) -> TensorSpec:
        return self._spec

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        return self._fixed

    @property
    def described(self) -> str:
        return f"onnx/{self._session.get_providers()[0]}"

    def run(self, image: Tensor) -> Outputs:
        try:
            found = self._session.run(self._asked, {self._input: image})
        except self._failures as error:
            raise DetectorError(f"ONNX Runtime failed: {error}") from error
        return {name: np.asarray(each, np.float32) for name, each in zip(self._names, found, strict=True)}

    def close(self) -> None:
        self._session = None

    def _open(self, ort: Any, bundle: Bundle, provider: Provider, threads: int) -> Any:
        asked = _PROVIDERS[provider]
        available = ort.get_available_providers()
        if asked[0] not in available:
            raise _provider_missing(provider, f"this ONNX Runtime has {', '.join(available)}")
        model = bundle.read(MODEL)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Threads that spin between frames take the encoder's time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = _ERRORS_ONLY
        providers = [name for name in asked if name in available]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # answered below, by name
                session = ort.InferenceSession(model, options, providers=providers)
                if provider == "cpu" and not _adds_up_in_16_bits(session):
                    # Only there for processors without VNNI, which are slower with it.
                    options.add_session_config_entry("session.x64quantprecision", "1")
                    session = ort.InferenceSession(model, options, providers=providers)
        except self._failures as error:
            if provider != "cpu":
                raise _provider_missing(provider, str(error)) from error
            raise BundleError(
                f"{MODEL} of {bundle.identity} cannot be loaded: {error}",
                hint="The bundle is broken or needs a newer ONNX Runtime.",
            ) from error
        running = session.get_providers()
        if not running or running[0] != asked[0]:
            raise _provider_missing(provider, f"ONNX Runtime fell back to {', '.join(running)}")
        return session

    def _require_input(self, bundle: Bundle) -> str:
        inputs = self._session.get_inputs()
        table = bundle.manifest.input
        kinds = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != kinds[table.dtype]:
            raise BundleError(
                f"{MODEL} of {bundle.identity} does not take one {table.dtype} picture.",
                hint="The manifest's [input] does not belong to this model.",
            )
        is_packed = _layout(inputs[0].shape) == "nhwc"
        height, width = inputs[0].shape[1:3] if is_packed else inputs[0].shape[2:]
        fixed = (width, height) if isinstance(width, int) and isinstance(height, int) else None
        if table.onnx_dynamic != (fixed is None) or (fixed is not None and fixed != table.size):
            raise BundleError(
                f"{MODEL} of {bundle.identity} takes {width}x{height} pictures, its manifest says "
                f"{table.size[0]}x{table.size[1]}{' or any' if table.onnx_dynamic else ''}.",
                hint="The manifest's [input] does not belong to this model.",
            )
        return str(inputs[0].name)


def _adds_up_in_16_bits(session: Any) -> bool:
    """Whether a model says that no two of its products need more. Processors without VNNI add up so, and cut
    off what overflows: the logits of models that do not care for it were off by up to 1.0.
    """
    said: dict[str, str] = session.get_modelmeta().custom_metadata_map
    return said.get("veil.products") == "16 bit"


def _layout(shape: Sequence[int | str]) -> Literal["nchw", "nhwc"]:
    return "nhwc" if shape[3] == _COLOURS and shape[1] != _COLOURS else "nchw"


def _provider_missing(provider: Provider, why: str) -> RuntimeMissingError:
    return RuntimeMissingError(
        f"the execution provider {provider!r} is not usable: {why}.",
        hint=f"Install {_PACKAGES[provider]} in place of onnxruntime, or set detector.provider.",
    )
