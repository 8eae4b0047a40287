"""Where the time of a frame goes: each stage alone, on one thread, in microseconds."""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import av
from rich.table import Table

from veil.assemble import emitter_makers
from veil.audit.log import Unlogged
from veil.capture.copy import FrameCopier, Rotation
from veil.capture.file import FileSource
from veil.config import CameraConfig
from veil.config_load import load_config
from veil.detect.detector import BundleDetector, load_detector
from veil.domain.clock import SystemClock, media_ns
from veil.emit import EncoderSpec
from veil.frames.picture import ColorInfo
from veil.frames.pool import Slot
from veil.frames.raw import RawFrame
from veil.mask.masker import Masker
from veil.pipeline import Observer, Pools
from veil.stats import CameraStats
from veil.track.tracker import Tracker

_MOST_FRAMES = 240


def stage_table(movie: Path) -> Table:
    """Medians over the clip's first frames."""
    times = measure_stages(movie)
    table = Table(title="stages, one thread, microseconds a frame (medians)")
    table.add_column("stage")
    table.add_column("us", justify="right")
    for stage, values in times.items():
        table.add_row(stage, f"{statistics.median(values):.0f}")
    table.add_row("sum", f"{sum(statistics.median(values) for values in times.values()):.0f}")
    return table


def measure_stages(movie: Path) -> dict[str, list[float]]:
    camera = load_config(None, os.environ).camera_for("bench", str(movie))
    camera = camera.model_copy(update={"capture": camera.capture.model_copy(update={"decoder_threads": 1})})
    clock = SystemClock()
    times: dict[str, list[float]] = defaultdict(list)
    with load_detector(camera.detector) as detector:
        _frames(camera, detector, clock, times)
    return dict(times)


def _frames(
    camera: CameraConfig, detector: BundleDetector, clock: SystemClock, times: dict[str, list[float]]
) -> None:
    pools = Pools(camera.mask.lookback_s)
    observer = Observer(CameraStats(), Unlogged())
    source = FileSource(Path(camera.source), camera.capture, pools, observer, clock)
    makers = emitter_makers(camera, lambda: observer.frame_rate, clock)
    tracker = Tracker(camera.tracker, detector.thresholds)
    lookback, masker = makers.lookback(), Masker()
    encoder = policy = None
    for raw in _timed(source.frames(), times):
        info = raw.info
        if encoder is None:
            spec = EncoderSpec(info.width, info.height, info.time_base, info.color, info.epoch)
            encoder = makers.encoder(spec).__enter__()
            policy = makers.policy(info.width, info.height)
        assert policy is not None
        report = detector.detect(raw)
        timings = detector.last_timings
        times["resize"].append(timings.resize_us)
        times["infer"].append(timings.infer_us)
        times["decode boxes"].append(timings.decode_us + timings.merge_us)
        begun = time.perf_counter()
        tracks = tracker.update(report.detections, media_ns(info.pts, info.time_base))
        lookback.push(info.sequence, media_ns(info.pts, info.time_base), tracks)
        cover = policy.cover(info.sequence, report.detectors, lookback.take(info.sequence))
        tracked = time.perf_counter()
        with masker.mask(raw, cover) as masked:
            painted = time.perf_counter()
            encoder.encode(masked)
        times["track and policy"].append((tracked - begun) * 1e6)
        times["paint"].append((painted - tracked) * 1e6)
        times["encode"].append((time.perf_counter() - painted) * 1e6)
        if len(times["encode"]) >= _MOST_FRAMES:
            source.close()
            break


def _timed(frames: Iterator[RawFrame], times: dict[str, list[float]]) -> Iterator[RawFrame]:
    """Splits what the next frame costs into decoding and the one copy."""
    copied: list[float] = []
    copy = FrameCopier.copy

    def timed_copy(self: FrameCopier, frame: av.VideoFrame, slot: Slot, *turn: Rotation) -> ColorInfo:
        begun = time.perf_counter()
        color = copy(self, frame, slot, *turn)
        copied.append((time.perf_counter() - begun) * 1e6)
        return color

    with mock.patch.object(FrameCopier, "copy", timed_copy):
        while True:
            begun = time.perf_counter()
            raw = next(frames, None)
            if raw is None:
                return
            times["decode"].append((time.perf_counter() - begun) * 1e6 - copied[-1])
            times["copy"].append(copied[-1])
            yield raw
