"""Detectors behind one face: our own ONNX and TFLite files, and the teachers, each from picture to boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from veil_models.boxes import Array, nms
from veil_models.dataset import CLASSES
from veil_models.graph import BOX_OF, IMAGE, STRIDES, outputs
from veil_models.pack import Pixels
from veil_models.quantized import PRODUCTS
from veil_models.teachers import Teacher, pad_to

NMS_IOU = 0.35


@dataclass(frozen=True, slots=True)
class Found:
    """Detections of one picture: `xyxy` [N, 4] pixels, `category` [N] index into CLASSES, `score` [N]."""

    xyxy: Array
    category: npt.NDArray[np.int64]
    score: Array

    def of(self, category: int) -> Found:
        """Only one class."""
        keep = self.category == category
        return Found(self.xyxy[keep], self.category[keep], self.score[keep])


class Detector(Protocol):
    """Finds faces, plates and heads."""

    name: str

    def find(self, rgb: Pixels, floor: float) -> Found:
        """Detections in [H, W, 3] RGB with scores >= `floor`, after NMS."""
        ...


def decode(tensors: dict[str, Array], floor: float) -> Found:
    """Boxes from the outputs of one picture: `cls_S` [3, H/S, W/S] logits, `box_S` [4 G, H/S, W/S] in
    strides (see `graph.BOX_OF`)."""
    boxes, categories, scores = [], [], []
    least = float(np.log(floor / (1 - floor)))
    for s in STRIDES:
        logits, distance = tensors[f"cls_{s}"], tensors[f"box_{s}"]
        groups = np.array(BOX_OF) % (len(distance) // 4)  # bundles before 0.5 have one box for all
        category, row, column = np.nonzero(logits >= least)
        d = distance.reshape(-1, 4, *distance.shape[1:])[groups[category], :, row, column].T * s
        x, y = (column + 0.5) * s, (row + 0.5) * s
        boxes.append(np.stack([x - d[0], y - d[1], x + d[2], y + d[3]], 1))
        categories.append(category)
        scores.append(1 / (1 + np.exp(-logits[category, row, column])))
    xyxy = np.concatenate(boxes).astype(np.float32)
    category = np.concatenate(categories)
    score = np.concatenate(scores).astype(np.float32)
    kept = [
        members[nms(xyxy[members], score[members], NMS_IOU)]
        for members in (np.flatnonzero(category == k) for k in range(len(CLASSES)))
    ]
    keep = np.concatenate(kept)
    return Found(xyxy[keep], category[keep], score[keep])


class OnnxDetector:
    """Our ONNX file: `image` uint8 [1, 3, H, W] (float) or [1, H, W, 3] (INT8) RGB."""

    def __init__(self, name: str, model: bytes | Path, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        source = model if isinstance(model, bytes) else str(model)
        self.name = name

        def session() -> Any:
            return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])

        self._session: Any = session()
        if self._session.get_modelmeta().custom_metadata_map.get(PRODUCTS[0]) != PRODUCTS[1]:
            # Exact where the processor has no VNNI, as on the box.
            options.add_session_config_entry("session.x64quantprecision", "1")
            self._session = session()
        self._is_colours_last = self._session.get_inputs()[0].shape[3] == 3

    def raw(self, rgb: Pixels) -> dict[str, Array]:
        """Output tensors without the batch axis; the picture is padded to multiples of 32."""
        padded = pad_to(rgb, 32)
        blob = np.ascontiguousarray((padded if self._is_colours_last else padded.transpose(2, 0, 1))[None])
        values = self._session.run(outputs(), {IMAGE: blob})
        return {n: np.asarray(v[0], np.float32) for n, v in zip(outputs(), values, strict=True)}

    def find(self, rgb: Pixels, floor: float) -> Found:
        return decode(self.raw(rgb), floor)


class TeacherDetector:
    """A face teacher as a detector of one class."""

    def __init__(self, teacher: Teacher) -> None:
        self.name = teacher.name
        self._teacher = teacher

    def find(self, rgb: Pixels, floor: float) -> Found:
        found = self._teacher.detect(rgb, floor)
        return Found(found[:, :4], np.zeros(len(found), np.int64), found[:, 4])


def letterbox(rgb: Pixels, longest: int) -> tuple[Pixels, float]:
    """Scale the longer side to `longest`; the picture stays at the top left. Returns it and the scale."""
    h, w = rgb.shape[:2]
    scale = longest / max(h, w)
    if scale == 1.0:
        return rgb, 1.0
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8), scale


class TfliteDetector:
    """Our TFLite file: `image` uint8 [1, H, W, 3] RGB of one fixed size."""

    def __init__(self, name: str, model: bytes | Path, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.name = name
        content = model if isinstance(model, bytes) else model.read_bytes()
        self._interpreter: Any = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._outputs = {d["name"]: d for d in self._interpreter.get_output_details()}
        _, height, width, _ = (int(v) for v in self._input["shape"])
        self.size = (width, height)

    def raw(self, rgb: Pixels) -> dict[str, Array]:
        """Real output tensors, channels first, without the batch axis; the picture is padded to the file's
        size."""
        width, height = self.size
        if rgb.shape[0] > height or rgb.shape[1] > width:
            raise ValueError(f"{rgb.shape[1]}x{rgb.shape[0]} does not fit {width}x{height}")
        padded = np.zeros((1, height, width, 3), np.uint8)
        padded[0, : rgb.shape[0], : rgb.shape[1]] = rgb
        self._interpreter.set_tensor(self._input["index"], padded)
        self._interpreter.invoke()
        tensors = {}
        for name in outputs():
            detail = self._outputs[name]
            scale, zero = detail["quantization"]
            stored = self._interpreter.get_tensor(detail["index"])[0].astype(np.float32)
            tensors[name] = ((stored - zero) * np.float32(scale)).transpose(2, 0, 1)
        return tensors

    def find(self, rgb: Pixels, floor: float) -> Found:
        return decode(self.raw(rgb), floor)
