"""Frees the declared sizes of a model that is convolutional throughout."""

from __future__ import annotations

from veil.errors import BundleError, RuntimeMissingError


def any_size(model: bytes) -> bytes:
    """The same model for one picture of any height and width; what it declared of sizes is dropped.

    Whether it really runs at any is for the caller to try. Raises RuntimeMissingError without the package
    onnx, BundleError for what is no model.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise RuntimeMissingError(
            "freeing a model's sizes needs the package onnx.",
            hint="pip install onnx, or --sizes declared.",
        ) from error
    try:
        loaded = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise BundleError("the model is no ONNX file.", hint="Check the path.") from error
    graph = loaded.graph
    weights = {each.name for each in graph.initializer}
    pictures = [each for each in graph.input if each.name not in weights]
    for value in [*pictures, *graph.output]:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if value in pictures and axis == 0:
                dimension.dim_value = 1
            elif axis != 1:
                dimension.dim_param = f"{value.name}_{axis}"
    del graph.value_info[:]
    return bytes(loaded.SerializeToString())
