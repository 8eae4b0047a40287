"""What is usual for each kind of model; every value may be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["yunet", "scrfd", "retinaface", "centerface", "yolov5_face", "yolov8"]
Color = Literal["rgb", "bgr"]
Sizes = Literal["declared", "any"]
Triple = tuple[float, float, float]

_BLACK = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Preset:
    """Of one kind, as its authors feed it.

    Attributes:
        color, mean, scale: of the input: (pixel 0..255 - mean) * scale, `mean` in the order of `color`.
        nms_iou: boxes that overlap more are one object.
        score, low: thresholds, chosen for recall.
        sizes: "any" where the size that the published file declares is nominal.
    """

    color: Color
    mean: Triple
    scale: float
    nms_iou: float
    score: float
    low: float
    sizes: Sizes = "declared"


PRESETS: dict[Kind, Preset] = {
    "yunet": Preset("bgr", _BLACK, 1.0, 0.4, 0.5, 0.3),
    "scrfd": Preset("rgb", (127.5, 127.5, 127.5), 1 / 128, 0.4, 0.4, 0.2),
    "retinaface": Preset("bgr", (104.0, 117.0, 123.0), 1.0, 0.4, 0.4, 0.2),
    "centerface": Preset("rgb", _BLACK, 1.0, 0.3, 0.3, 0.2, sizes="any"),
    "yolov5_face": Preset("rgb", _BLACK, 1 / 255, 0.45, 0.3, 0.15),
    "yolov8": Preset("rgb", _BLACK, 1 / 255, 0.45, 0.25, 0.1),
}
