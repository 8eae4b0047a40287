"""CenterFace."""

from __future__ import annotations

import numpy as np

from veil.detect.decode_found import LARGEST_EXPONENT, Found, require
from veil.detect.runtime import Outputs, Shapes


class CenterFace:
    """CenterFace: heat map `537`, log sizes `538` (height, width) and offsets `539` (y, x) at one stride."""

    def __init__(self, stride: int, lowest: float) -> None:
        self._stride = stride
        self._lowest = lowest

    def shapes(self, width: int, height: int) -> Shapes:
        side = (height // self._stride, width // self._stride)
        return {"537": (1, 1, *side), "538": (1, 2, *side), "539": (1, 2, *side)}

    def candidates(self, outputs: Outputs, width: int, height: int) -> Found:
        require(outputs, self.shapes(width, height))
        heat = outputs["537"][0, 0]
        ys, xs = np.nonzero(heat >= self._lowest)
        sizes = np.clip(outputs["538"][0, :, ys, xs], -LARGEST_EXPONENT, LARGEST_EXPONENT)
        half = np.exp(sizes[:, ::-1]) * (self._stride / 2)
        away = outputs["539"][0, :, ys, xs]
        centre = (np.stack([xs, ys], axis=1) + away[:, ::-1] + 0.5) * self._stride
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return Found(boxes, np.clip(heat[ys, xs], 0, 1), np.zeros(len(ys), np.intp))
