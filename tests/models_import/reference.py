"""What the exporters' own post-processing computes, one box at a time, in Python's floats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

Values = Mapping[str, NDArray[Any]]
Scored = tuple[float, float, float, float, float, int]
"""x0, y0, x1, y1, score, label."""

_V5_ANCHORS = {
    8: [(4, 5), (8, 10), (13, 16)],
    16: [(23, 29), (43, 55), (73, 105)],
    32: [(146, 217), (231, 300), (335, 433)],
}


def scrfd(values: Values, width: int, height: int, anchors: int = 2) -> Iterator[Scored]:
    for stride in (8, 16, 32) if anchors == 2 else (8, 16, 32, 64, 128):
        row = 0
        for y in range(height // stride):
            for x in range(width // stride):
                for _ in range(anchors):
                    score = float(values[f"score_{stride}"].reshape(-1)[row])
                    left, top, right, bottom = (
                        max(0.0, float(d)) * stride for d in values[f"bbox_{stride}"].reshape(-1, 4)[row]
                    )
                    yield (
                        x * stride - left,
                        y * stride - top,
                        x * stride + right,
                        y * stride + bottom,
                        score,
                        0,
                    )
                    row += 1


def retinaface(values: Values, width: int, height: int) -> Iterator[Scored]:
    row = 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for i in range(math.ceil(height / stride)):
            for j in range(math.ceil(width / stride)):
                for side in sides:
                    # In shares of the picture, as published; pixels only at the end.
                    px, py, pw, ph = (
                        (j + 0.5) * stride / width,
                        (i + 0.5) * stride / height,
                        side / width,
                        side / height,
                    )
                    tx, ty, tw, th = (float(v) for v in values["loc"][0, row])
                    cx, cy = px + tx * 0.1 * pw, py + ty * 0.1 * ph
                    w, h = pw * math.exp(tw * 0.2), ph * math.exp(th * 0.2)
                    score = float(values["conf"][0, row, 1])
                    yield (
                        (cx - w / 2) * width,
                        (cy - h / 2) * height,
                        (cx + w / 2) * width,
                        (cy + h / 2) * height,
                        score,
                        0,
                    )
                    row += 1


def yolov5_face(values: Values, width: int, height: int) -> Iterator[Scored]:
    del width, height
    for each in values["output"][0].tolist():
        x, y, w, h, score = *each[:4], each[4] * each[15]
        yield (x - w / 2, y - h / 2, x + w / 2, y + h / 2, score, 0)


def yolov5_face_raw(values: Values, width: int, height: int) -> Iterator[Scored]:
    for stride, anchors in _V5_ANCHORS.items():
        for a, (aw, ah) in enumerate(anchors):
            for y in range(height // stride):
                for x in range(width // stride):
                    s = [1 / (1 + math.exp(-v)) for v in values[f"stride_{stride}"][0, a, y, x].tolist()]
                    cx, cy = (s[0] * 2 - 0.5 + x) * stride, (s[1] * 2 - 0.5 + y) * stride
                    w, h = (s[2] * 2) ** 2 * aw, (s[3] * 2) ** 2 * ah
                    yield (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, s[4] * s[15], 0)


def yolov8(values: Values, width: int, height: int, channels: tuple[int, ...] = (0,)) -> Iterator[Scored]:
    del width, height
    for column in range(values["output0"].shape[2]):
        x, y, w, h, *rest = values["output0"][0, :, column].tolist()
        for label, channel in enumerate(channels):
            yield (x - w / 2, y - h / 2, x + w / 2, y + h / 2, rest[channel], label)
