"""What an inference runtime does: one picture tensor in, named outputs back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]
Outputs = Mapping[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]
OutputShapes = Callable[[int, int], Shapes]
"""Names and shapes of a decoder's outputs for an input of width, height; four axes are N, C, H, W."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """The picture tensor: batch of one, pixels 0..255, (pixel - mean) * scale for float32.

    `int8` holds pixel - 128.
    """

    layout: Literal["nchw", "nhwc"]
    dtype: Literal["uint8", "int8", "float32"]
    color: Literal["rgb", "bgr"]
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0


class Runtime(Protocol):
    """One loaded model.

    Attributes:
        spec: the tensor that `run` takes.
        fixed_size: width, height where the model takes only one size; None where it takes any multiple.
        described: runtime and provider in use, for logs and evidence.
    """

    @property
    def spec(self) -> TensorSpec: ...

    @property
    def fixed_size(self) -> tuple[int, int] | None: ...

    @property
    def described(self) -> str: ...

    def run(self, image: Tensor) -> Outputs:
        """Outputs by name, float32, feature maps as N, C, H, W; valid until the next run.

        Raises DetectorError when the runtime fails.
        """
        ...

    def close(self) -> None:
        """Frees the model; `run` must not be called afterwards."""
        ...
