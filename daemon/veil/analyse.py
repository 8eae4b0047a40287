"""RawFrame -> what is known about it: detector (guarded) and tracker of one camera."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from veil.detect.guard import DetectorGuard
from veil.domain.clock import media_ns
from veil.domain.cover import Reason
from veil.domain.detection import Detection, DetectionReport, DetectionTable
from veil.domain.track import Track
from veil.frames.raw import RawFrame
from veil.stats import CameraStats


class Tracks(Protocol):
    """The tracker's verbs."""

    def update(self, detections: Sequence[Detection], now_ns: int) -> Sequence[Track]: ...

    def reset(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Analysed:
    """A raw frame with its evidence: a report and tracks, or the reason why there is no report."""

    raw: RawFrame
    time_ns: int
    report: DetectionReport | Reason
    tracks: Sequence[Track]


class Analyser:
    """Runs on the detection thread of a camera."""

    def __init__(self, guard: DetectorGuard, tracker: Tracks, stats: CameraStats) -> None:
        self._guard = guard
        self._tracker = tracker
        self._stats = stats
        self._epoch = -1

    def analyse(self, raw: RawFrame) -> Analysed:
        """Takes over the lease. Raises DetectorError or DetectorStuckError when the trouble lasts."""
        if raw.info.epoch != self._epoch:
            self._tracker.reset()
            self._epoch = raw.info.epoch
        report = Reason.PICTURE_DAMAGED if raw.info.is_damaged else self._guard.ask(raw)
        now_ns = media_ns(raw.info.pts, raw.info.time_base)
        begun = time.perf_counter_ns()
        match report:
            case DetectionReport():
                tracks = self._tracker.update(report.detections, now_ns)
                self._stats.detected(DetectionTable.of(report.detections).by_class(), report.elapsed_ns)
            case _:
                tracks = self._tracker.update((), now_ns)
        self._stats.stage("track", time.perf_counter_ns() - begun)
        return Analysed(raw, now_ns, report, tracks)
