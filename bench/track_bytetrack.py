"""Runs a library's plain ByteTrack over detections; for `track_quality.py`, in an environment of its own.

Needs `supervision==0.26.1` (its later versions carry no tracker). Reads one JSON object from standard input,
`{"fps": 30, "frames": [[[x0, y0, x1, y1, score], ...], ...]}`, and writes the boxes that it returns for each
frame in the same form, without the scores.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import supervision

with_scores = json.load(sys.stdin)
tracker = supervision.ByteTrack(frame_rate=round(with_scores["fps"]))
answer = []
for frame in with_scores["frames"]:
    rows = np.array(frame, np.float32).reshape(-1, 5)
    detections = supervision.Detections(
        xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), int)
    )
    answer.append(tracker.update_with_detections(detections).xyxy.tolist())
json.dump(answer, sys.stdout)
