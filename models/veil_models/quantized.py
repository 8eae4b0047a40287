"""Folded weights and the ranges of every tensor: all that the integer writers need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veil_models.graph import IMAGE, Node, Op

Floats = npt.NDArray[np.float32]

PRODUCTS = ("veil.products", "16 bit")
"""Metadata of a model in which no two products overflow 16 bits (`integers`): the daemon then lets
processors without VNNI take their fast operations, which add up in 16 bits."""


@dataclass(frozen=True, slots=True)
class Folded:
    """One convolution after folding its normalisation: weight [out, in, k, k], bias [out]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Affine:
    """real = scale * (stored - zero_point), stored in 0..255."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Integers:
    """A quantized convolution: weight int8 [out, in, k, k] with `scale` [out]; bias int32 at input scale *
    scale."""

    weight: npt.NDArray[np.int8]
    scale: Floats
    bias: npt.NDArray[np.int32]


def affine(low: float, high: float) -> Affine:
    """The 8-bit grid of a range; zero is always exactly representable."""
    low, high = min(low, 0.0), max(high, 1e-6)
    scale = float(np.float32((high - low) / 255.0))
    return Affine(scale, int(np.clip(round(-low / scale), 0, 255)))


def grids(nodes: list[Node], ranges: Mapping[str, tuple[float, float]]) -> dict[str, Affine]:
    """The grid of every tensor; upsampling keeps its input's, the picture's is value/255."""
    result = {IMAGE: Affine(float(np.float32(1 / 255)), 0)}
    for node in nodes:
        result[node.name] = result[node.inputs[0]] if node.op is Op.UPSAMPLE else affine(*ranges[node.name])
    return result


def integers(folded: Folded, image_scale: float) -> Integers:
    """Symmetric per-channel weights in -127..127, of which two neighbours (by row, column, input) never reach
    16 bits when each is multiplied by 255 and both are added: processors without VNNI add up so, and cut off
    what overflows.
    """
    magnitude = np.abs(folded.weight).max(axis=(1, 2, 3))
    scale = np.maximum(np.maximum(magnitude, _largest_pair(folded.weight)) / 127.0, 1e-8).astype(np.float32)
    weight = np.clip(np.rint(folded.weight / scale[:, None, None, None]), -127, 127).astype(np.int8)
    bias = np.rint(folded.bias.astype(np.float64) / (scale.astype(np.float64) * image_scale))
    return Integers(weight, scale, np.clip(bias, -(2**31) + 1, 2**31 - 1).astype(np.int32))


def _largest_pair(weight: Floats) -> Floats:
    """For each output the largest sum of two neighbours of one sign; rounding adds one step at most."""
    flat = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    pairs = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2))).reshape(len(weight), -1, 2)
    sums = np.maximum(np.maximum(pairs, 0).sum(axis=2), np.maximum(-pairs, 0).sum(axis=2))
    largest: Floats = sums.max(axis=1)
    return largest
