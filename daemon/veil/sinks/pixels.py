"""Masked I420 planes to RGB: range and matrix (ITU-T H.273) taken from the frame, nothing assumed twice."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.frames.picture import ColorInfo, PlaneArray, Planes

_UNSPECIFIED: Final = 2
# Kr, Kb by matrix coefficients (H.273, table 4).
_WEIGHTS: Final = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_HD_LINES: Final = 720
_BAND: Final = 256


def luma_weights(color: ColorInfo, height: int) -> tuple[float, float]:
    """Kr and Kb. Where unsaid: BT.709 for limited-range HD video, else BT.601, as players do."""
    if color.matrix in _WEIGHTS:
        return _WEIGHTS[color.matrix]
    is_hd_video = color.matrix == _UNSPECIFIED and not color.full_range and height >= _HD_LINES
    return _WEIGHTS[1 if is_hd_video else 6]


def scaled(planes: Planes, width: int, height: int) -> Planes:
    """A smaller or equal copy; `width` and `height` even, in pixels."""
    return Planes(
        *(
            np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
            for plane, size in zip(
                planes, ((width, height), (width // 2, height // 2), (width // 2, height // 2)), strict=True
            )
        )
    )


def to_rgb(planes: Planes, color: ColorInfo, width: int, height: int, lines: int) -> NDArray[np.uint8]:
    """Shape (height, width, 3), uint8, full range.

    Args:
        width, height: visible size in pixels, at most that of `planes`.
        lines: height of the picture as captured, which decides the matrix where none is said.
    """
    kr, kb = luma_weights(color, lines)
    kg = 1 - kr - kb
    offset, luma_span, chroma_span = (0, 255, 255) if color.full_range else (16, 219, 224)
    rgb = np.empty((height, width, 3), np.uint8)
    # In bands, because a whole large picture in floating point needs many times its memory.
    for top in range(0, height, _BAND):
        bottom = min(height, top + _BAND)
        luma = (planes.y[top:bottom, :width].astype(np.float32) - offset) * (255 / luma_span)
        blue, red = (
            (_full_size(plane, top, bottom, width) - 128) * (255 / chroma_span)
            for plane in (planes.u, planes.v)
        )
        band = rgb[top:bottom]
        _store(band[..., 0], luma + 2 * (1 - kr) * red)
        _store(band[..., 1], luma - 2 * kb * (1 - kb) / kg * blue - 2 * kr * (1 - kr) / kg * red)
        _store(band[..., 2], luma + 2 * (1 - kb) * blue)
    return rgb


def _full_size(plane: PlaneArray, top: int, bottom: int, width: int) -> NDArray[np.float32]:
    """Chroma rows of the pixels `top` to `bottom`, linearly interpolated, `width` columns."""
    first, last = max(0, top // 2 - 1), min(plane.shape[0], (bottom + 1) // 2 + 1)
    part = plane[first:last].astype(np.float32)
    size = (2 * part.shape[1], 2 * part.shape[0])
    full = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(full[top - 2 * first : bottom - 2 * first, :width], np.float32)


def _store(target: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
    np.copyto(target, np.clip(np.rint(values), 0, 255), casting="unsafe")
