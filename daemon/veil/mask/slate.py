"""The picture shown while there is nothing safe to show. No captured pixel is ever in it."""

from __future__ import annotations

import cv2

from veil.frames.picture import Planes

_LUMA_BACK, _LUMA_TEXT, _CHROMA = 32, 190, 128


def draw_slate(planes: Planes, lines: tuple[str, ...]) -> None:
    """Draws up to four short lines of ASCII, centred, on dark grey."""
    planes.y[...] = _LUMA_BACK
    planes.u[...] = _CHROMA
    planes.v[...] = _CHROMA
    height, width = planes.y.shape
    scale = max(0.3, min(width / 800, height / 450))
    thickness = max(1, round(scale * 2))
    step = int(40 * scale)
    top = height // 2 - step * (len(lines) - 1) // 2
    for index, line in enumerate(lines[:4]):
        (text_width, text_height), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        origin = (max(0, (width - text_width) // 2), top + index * step + text_height // 2)
        cv2.putText(
            planes.y, line, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _LUMA_TEXT, thickness, cv2.LINE_AA
        )


def draw_mark(planes: Planes, text: str) -> None:
    """Writes one short line of ASCII on a dark band along the lower edge of a masked picture."""
    height = planes.y.shape[0]
    band = min(height, max(16, height // 16 * 2))
    planes.y[height - band :] = _LUMA_BACK
    planes.u[(height - band) // 2 :] = _CHROMA
    planes.v[(height - band) // 2 :] = _CHROMA
    scale = band / 40
    origin = (band // 2, height - band // 3)
    thickness = max(1, round(scale))
    cv2.putText(planes.y, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _LUMA_TEXT, thickness, cv2.LINE_AA)
