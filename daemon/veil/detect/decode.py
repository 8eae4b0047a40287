"""From a model's outputs to boxes in pixels of its input: candidates by score, then no duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.detect.decode_centerface import CenterFace
from veil.detect.decode_found import Decoder, Floats, Found, Labels
from veil.detect.decode_grid import LtrbGrid
from veil.detect.decode_retinaface import RetinaFace
from veil.detect.decode_scrfd import Scrfd
from veil.detect.decode_yolo import Yolov5Face, Yolov5FaceRaw, Yolov8
from veil.detect.decode_yunet import YuNet
from veil.detect.manifest import DecoderTable
from veil.detect.pairs import common_area, sharing_columns

__all__ = [
    "MAX_CANDIDATES",
    "CenterFace",
    "Decoder",
    "Found",
    "LtrbGrid",
    "YuNet",
    "make_decoder",
    "suppress",
]

MAX_CANDIDATES = 2000
_MAX_PAIRS = 300_000
_ALONG_X = np.array([1, 0, 1, 0], np.float32)


def make_decoder(table: DecoderTable, lowest: Sequence[float]) -> Decoder:
    """The decoder that a manifest names; `lowest` is each class's lowest score, 0 < score < 1."""
    match table.kind:
        case "ltrb_grid":
            return LtrbGrid(table.strides, lowest, table.box_of)
        case "yunet":
            return YuNet(table.strides, lowest[0])
        case "centerface":
            return CenterFace(table.strides[0], lowest[0])
        case "scrfd":
            return Scrfd(table.strides, lowest[0])
        case "retinaface":
            return RetinaFace(table.strides, lowest[0])
        case "yolov5_face":
            return Yolov5Face(table.strides, lowest[0])
        case "yolov5_face_raw":
            return Yolov5FaceRaw(table.strides, lowest[0])
        case "yolov8":
            return Yolov8(table.strides, lowest, table.channels, table.values)


def suppress(found: Found, iou: float) -> Found:
    """Greedy non-maximum suppression within each class, best scores first.

    At most MAX_CANDIDATES are looked at, the best ones.
    """
    if len(found) > MAX_CANDIDATES:
        found = found.take(np.argpartition(-found.scores, MAX_CANDIDATES)[:MAX_CANDIDATES])
    found = found.take(np.argsort(-found.scores, kind="stable"))
    if len(found) < 2:
        return found
    # Classes far apart never overlap, so that one pass does for all.
    apart = np.float32(np.abs(found.boxes).max() * 4 + 16)
    boxes = found.boxes + (found.labels.astype(np.float32) * apart)[:, None] * _ALONG_X
    pairs = sharing_columns(boxes)
    if len(pairs[0]) > _MAX_PAIRS:
        return found.take(_by_rows(boxes, found.scores, iou))
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    common = common_area(boxes, pairs)
    over = common > iou * (area[pairs[0]] + area[pairs[1]] - common)
    # The boxes are in order of score: the smaller index is the better one.
    better, worse = np.minimum(*pairs)[over], np.maximum(*pairs)[over]
    return found.take(np.flatnonzero(_kept(len(found), better, worse)))


def _kept(count: int, better: Labels, worse: Labels) -> NDArray[np.bool_]:
    """Which of `count` boxes no kept better one suppresses: settled from the best down, many at a time."""
    kept = np.zeros(count, np.bool_)
    open_ = np.ones(count, np.bool_)
    while len(worse):
        free = open_.copy()
        free[worse] = False  # something better is not settled yet
        kept |= free
        open_ &= ~free
        open_[worse[free[better]]] = False
        left = open_[better] & open_[worse]
        better, worse = better[left], worse[left]
    return kept | open_


def _by_rows(boxes: Floats, scores: Floats, iou: float) -> Labels:
    """The same for crowded candidates, of which few remain."""
    corners: Any = boxes.copy()  # the binding takes arrays where its stub says sequences
    corners[:, 2:] -= corners[:, :2]
    ordered: Any = scores
    return np.sort(np.asarray(cv2.dnn.NMSBoxes(corners, ordered, 0.0, iou), np.intp).reshape(-1))
