"""YuNet over a clip in native tiles, as reference for `track_quality.py`."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from veil.domain.geometry import Box

SIDE = 640
LOWEST = 0.2
SAME_IOU = 0.4
Found = tuple[Box, float]


def detect_clip(path: Path, model: Path, frames: int) -> tuple[list[int], list[list[Found]]]:
    """Times in nanoseconds and merged detections of the first `frames` frames."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    times: list[int] = []
    found: list[list[Found]] = []
    with av.open(str(path)) as clip:
        for frame in clip.decode(video=0):
            if len(times) >= frames:
                break
            times.append(round(float(frame.pts * frame.time_base) * 1e9))
            found.append(_merged(_detect(session, frame.to_ndarray(format="bgr24"))))
    return times, found


def _detect(session: onnxruntime.InferenceSession, picture: NDArray[np.uint8]) -> list[Found]:
    height, width = picture.shape[:2]
    found: list[Found] = []
    for y in sorted({0, max(0, height - SIDE)}):
        for x in sorted({*range(0, max(1, width - SIDE), SIDE - 80), max(0, width - SIDE)}):
            part = np.zeros((SIDE, SIDE, 3), np.float32)
            piece = picture[y : y + SIDE, x : x + SIDE]
            part[: piece.shape[0], : piece.shape[1]] = piece
            names = [output.name for output in session.get_outputs()]
            values = session.run(names, {"input": part.transpose(2, 0, 1)[None]})
            answer = {
                name: value.reshape(-1, value.shape[-1]) for name, value in zip(names, values, strict=True)
            }
            for stride in (8, 16, 32):
                score = np.sqrt(answer[f"cls_{stride}"][:, 0] * answer[f"obj_{stride}"][:, 0])
                box = answer[f"bbox_{stride}"]
                for cell in np.flatnonzero(score >= LOWEST).tolist():
                    row, column = divmod(cell, SIDE // stride)
                    cx, cy = x + (column + box[cell, 0]) * stride, y + (row + box[cell, 1]) * stride
                    half_w, half_h = np.exp(box[cell, 2:]) * stride / 2
                    corners = (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
                    found.append((Box(*(float(edge) for edge in corners)), float(score[cell])))
    return found


def _merged(found: list[Found]) -> list[Found]:
    kept: list[Found] = []
    for box, score in sorted(found, key=lambda one: -one[1]):
        if all(box.iou(other) < SAME_IOU for other, _ in kept):
            kept.append((box, score))
    return kept
