"""Candidates, what a decoder of them is, and the check that every output passes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from veil.detect.runtime import Outputs, Shapes
from veil.errors import DetectorError

LARGEST_EXPONENT = 10.0
"""Log sizes are cut here: further on a box is larger than any picture, and soon infinite."""

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Found:
    """`boxes` [N, 4] x0, y0, x1, y1 in pixels, `scores` [N] 0..1, `labels` [N] into the bundle's classes."""

    boxes: Floats
    scores: Floats
    labels: Labels

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: NDArray[Any]) -> Found:
        return Found(self.boxes[which], self.scores[which], self.labels[which])


class Decoder(Protocol):
    """Candidates of one kind of model. Pure but for what is computed once at construction."""

    def shapes(self, width: int, height: int) -> Shapes:
        """Names and shapes of the outputs that are read, for an input of `width` x `height`."""
        ...

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        """All candidates from their class's lowest score on, unordered, with duplicates.

        Raises DetectorError for outputs of another shape or that are not finite.
        """
        ...


def require(outputs: Outputs, shapes: Shapes) -> None:
    """Raises DetectorError for an output that is missing, of another shape, or not finite.

    A comparison with NaN is false: without this a broken model would be one that finds nothing.
    """
    for name, shape in shapes.items():
        values = outputs.get(name)
        if values is None or values.shape != shape:
            got = "nothing" if values is None else "x".join(map(str, values.shape))
            raise DetectorError(
                f"the model's output {name} is {got}, its decoder reads {'x'.join(map(str, shape))}."
            )
        if not np.isfinite(values).all():
            raise DetectorError(f"the model's output {name} holds values that are not finite.")


def joined(parts: Sequence[Found]) -> Found:
    """The candidates of several strides as one."""
    return Found(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
