"""Look-back on a real street: what is found in frame n is covered in the frames before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from detect.bundles import YUNET, write_bundle
from veil.capture.file import FileSource
from veil.config import CaptureConfig, DetectorConfig, MaskConfig, TrackerConfig
from veil.detect.detector import BundleDetector, load_detector
from veil.domain.clock import SystemClock, media_ns
from veil.domain.detection import Detection
from veil.domain.geometry import Box
from veil.domain.track import Track
from veil.mask.lookback import LookBack
from veil.mask.painter import painted_cells
from veil.mask.policy import MaskPolicy
from veil.pipeline import Observer, Pools
from veil.stats import CameraStats
from veil.track.tracker import Tracker

SHARED = Path(__file__).parents[3] / "shared"
CLIP = SHARED / "media" / "people-walking.mp4"
TEACHER = SHARED / "teachers" / "yunet_n_640_640.onnx"
FRAMES = 50
STEP = 2
LOOKBACK_S = 0.5
_COVERED = 0.9

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not (CLIP.is_file() and TEACHER.is_file()), reason="needs ../shared"),
]


@dataclass(frozen=True)
class Seen:
    """A frame of the clip: what the schedule found, what all tiles find, and the tracks."""

    sequence: int
    time_ns: int
    truth: tuple[Detection, ...]
    tracks: tuple[Track, ...]


class _Silent:
    def append(self, event: object) -> int:
        return 0


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[Seen]:
    """Each second frame of the clip (15 a second), by the schedule of a small box: the whole and one tile."""
    cv2.setNumThreads(1)
    folder = tmp_path_factory.mktemp("yunet")
    write_bundle(folder / "yunet", YUNET, {"model.onnx": TEACHER.read_bytes()})
    config = DetectorConfig(bundle="yunet", bundle_dir=folder)
    config = config.model_copy(update={"time_budget_ms": math.inf})
    observer = Observer(CameraStats(), _Silent())
    frames: list[Seen] = []
    with load_detector(config) as detector:
        tracker = Tracker(TrackerConfig(), detector.thresholds)
        source = FileSource(CLIP, CaptureConfig(), Pools(0.0), observer, SystemClock())
        for index, raw in enumerate(source.frames()):
            with raw:
                if index % STEP:
                    continue
                now_ns = media_ns(raw.info.pts, raw.info.time_base)
                report = detector.detect(raw)
                tracks = tracker.update(report.detections, now_ns)
                frames.append(Seen(index, now_ns, _all_tiles(detector, raw), tracks))
            if len(frames) == FRAMES:
                break
    return frames


def _all_tiles(detector: BundleDetector, raw: object) -> tuple[Detection, ...]:
    info, planes = raw.info, raw.planes  # type: ignore[attr-defined]
    tiles = detector.tiles_of(info.width, info.height)
    found = detector.detect_planes(planes, info.width, info.height, info.color, tiles)
    return tuple(one for one in found if one.score >= detector.thresholds[one.kind].score)


def uncovered(seen: list[Seen], lookback_s: float) -> tuple[int, float]:
    """How many sure objects were less than nine tenths under masks, and the share of the frame masked."""
    policy = MaskPolicy(MaskConfig(), 1280, 720)
    lookback = LookBack(
        round(lookback_s * 1e9), round(TrackerConfig().hold_s * 1e9), TrackerConfig().growth_per_s
    )
    waiting: list[Seen] = []
    missed, share, frames = 0, 0.0, 0

    def leave(frame: Seen) -> None:
        nonlocal missed, share, frames
        cells = painted_cells(policy.regions(lookback.take(frame.sequence)), (360, 640))
        missed += sum(_hidden(cells, one.box) < _COVERED for one in frame.truth)
        share, frames = share + float(cells.mean()), frames + 1

    for frame in seen:
        lookback.push(frame.sequence, frame.time_ns, frame.tracks)
        waiting.append(frame)
        while waiting and frame.time_ns - waiting[0].time_ns >= lookback_s * 1e9:
            leave(waiting.pop(0))
    for frame in waiting:
        leave(frame)
    return missed, share / frames


def _hidden(cells: np.ndarray[tuple[int, int], np.dtype[np.bool_]], box: Box) -> float:
    part = cells[
        max(0, int(box.y0) // 2) : int(box.y1) // 2 + 1, max(0, int(box.x0) // 2) : int(box.x1) // 2 + 1
    ]
    return float(part.mean()) if part.size else 1.0


def test_look_back_leaves_far_fewer_faces_uncovered(
    seen: list[Seen], capsys: pytest.CaptureFixture[str]
) -> None:
    objects = sum(len(frame.truth) for frame in seen)
    without, area_without = uncovered(seen, 0.0)
    with_it, area_with = uncovered(seen, LOOKBACK_S)
    with capsys.disabled():
        print(
            f"\n{CLIP.name}: {objects} object-frames in {len(seen)} frames; uncovered without look-back "
            f"{without}, with {LOOKBACK_S} s {with_it}; masks cover {area_without:.2%} and {area_with:.2%}"
        )
    assert objects > 50
    assert with_it <= 0.6 * without


def test_a_track_is_covered_in_the_frames_before_its_first_sighting(seen: list[Seen]) -> None:
    policy = MaskPolicy(MaskConfig(), 1280, 720)
    first: dict[int, tuple[int, Track]] = {}
    for index, frame in enumerate(seen):
        for track in frame.tracks:
            first.setdefault(track.track_id, (index, track))
    checked = 0
    for index, track in first.values():
        # one that was a candidate has more than one sighting, and a way that these tell
        if index < 8 or track.detected is None or not track.is_confirmed:
            continue
        lookback = LookBack(round(LOOKBACK_S * 1e9), 1_000_000_000, 0.25)
        for frame in seen[: index + 1]:
            lookback.push(frame.sequence, frame.time_ns, frame.tracks)
        before = seen[index - 3]
        cells = painted_cells(policy.regions(lookback.take(before.sequence)), (360, 640))
        assert _hidden(cells, track.detected) > 0.5, f"track first seen in frame {seen[index].sequence}"
        checked += 1
    assert checked >= 3
