"""`veil anonymize`: files through the very same detector, tracker, look-back, policy, masker and encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from veil.analyse import Analyser
from veil.assemble import emitter_makers, lookback_ns
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventSink, note_fault
from veil.audit.tally import Totals
from veil.capture.file import FileSource
from veil.capture.source import DropReason
from veil.capture.still import open_still
from veil.config import CameraConfig
from veil.detect.detector import Detector
from veil.detect.guard import DetectorGuard, objection
from veil.domain.clock import Clock
from veil.domain.cover import Cover, Reason, Regions, WholeFrame
from veil.emit import Emitter
from veil.encode.packet import MaskedPacket
from veil.errors import CaptureError, DetectorError, SinkError
from veil.frames.raw import RawFrame
from veil.jobs import Job, sha256_of
from veil.mask.masker import Masker
from veil.mask.policy import MaskPolicy
from veil.mask.targets import Target
from veil.origin import origin_of
from veil.pipeline import FileWay, Observer, Parts, Pipeline, Pools
from veil.sinks.still import write_still
from veil.sinks.video_file import VideoFile
from veil.stats import CameraStats
from veil.timeline import FileTimeline
from veil.track.tracker import Tracker

_PATIENCE_S = 120.0
# Of variable rate: denser bursts leave with a shorter look-back.
_DENSEST_FRAME_RATE = 60.0

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What was done with one file. `undecodable`: pictures of the source that were damaged. They are among
    the frames, hidden as a whole; those whose time is not known are left out. `other_videos`: of the source,
    which were not taken."""

    job: Job
    frames: int
    masks: int
    whole: int
    undecodable: int = 0
    other_videos: int = 0


class Anonymizer:
    """Does jobs one after the other.

    Args:
        config: tracker, mask, encoder and capture sections are used.
        detector: looks at videos.
        still_detector: looks at pictures, which have one frame to be seen in; `detector` unless given.
    """

    def __init__(
        self,
        config: CameraConfig,
        detector: Detector,
        log: EventSink,
        clock: Clock,
        *,
        still_detector: Detector | None = None,
    ) -> None:
        self._config = config
        self._detector = detector
        self._still_detector = still_detector or detector
        self._log = log
        self._clock = clock

    def run(self, job: Job, progress: Progress) -> Result:
        """Anonymizes one file. Raises VeilError; the output's name then does not exist or is the old file."""
        try:
            source_hash = sha256_of(job.source)
        except OSError as error:
            raise CaptureError(
                f"{job.source} cannot be read: {error.strerror}.", hint="Check its permissions."
            ) from error
        _make_folder(job.output.parent)
        return self._still(job, source_hash) if job.is_still else self._video(job, progress, source_hash)

    def _attest(self, whole: Path, source_hash: str, result: Result, tally: Totals | None = None) -> None:
        """Before the file has its name: where it cannot be logged, it does not get one."""
        totals = {} if tally is None else tally.data()
        data: dict[str, Value] = {
            "source_sha256": source_hash,
            "output_sha256": sha256_of(whole),
            "output_bytes": whole.stat().st_size,
            "frames": result.frames,
            "masks": result.masks,
            "whole": result.whole,
            "undecodable": result.undecodable,
            "bundle": self._detector.identity,
            **origin_of(self._config, self._detector),
            **{key: value for key, value in totals.items() if key != "masks"},
        }
        if result.other_videos:
            data["other_videos"] = result.other_videos
        self._log.append(Event(Kind.FILE_ANONYMIZED, data))

    def _video(self, job: Job, progress: Progress, source_hash: str) -> Result:
        config, clock, stats, tally = self._config, self._clock, CameraStats(), Totals()
        pools = Pools(config.mask.lookback_s, least_frame_rate=_DENSEST_FRAME_RATE)
        observer = Observer(stats, self._log)
        source = FileSource(job.source, config.capture, pools, observer, clock)
        guard = DetectorGuard(
            self._detector,
            deadline_s=_PATIENCE_S,
            stuck_after_s=_PATIENCE_S,
            clock=clock,
            failed=lambda text: note_fault(self._log, text),
        )

        def done() -> Result:
            counts = stats.snapshot()
            undecodable = counts.dropped.get(str(DropReason.DECODE_ERROR), 0) + tally.whole(
                Reason.PICTURE_DAMAGED
            )
            return Result(
                job, counts.frames_out, counts.masks, counts.whole, undecodable, source.other_videos
            )

        def attest(whole: Path) -> None:
            self._attest(whole, source_hash, done(), tally)

        with VideoFile(job.output, attest) as video, guard:
            emitter = Emitter(
                emitter_makers(config, lambda: observer.frame_rate, clock),
                lookback_ns=lookback_ns(config),
                capacity=lambda: pools.room,
                timeline=FileTimeline(),
                slates=None,
                packet_sinks=[_Counting(video, progress)],
                frame_sinks=[],
                log=self._log,
                tally=tally,
                stats=stats,
                clock=clock,
            )
            parts = Parts(
                source=source,
                analyser=Analyser(guard, Tracker(config.tracker, self._detector.thresholds), stats),
                emitter=emitter,
                way=FileWay(_PATIENCE_S),
                stats=stats,
                log=self._log,
                clock=clock,
                patience_s=_PATIENCE_S,
            )
            Pipeline(parts).run()
        return done()

    def _still(self, job: Job, source_hash: str) -> Result:
        with open_still(job.source, self._clock) as raw:
            cover = self._still_cover(raw)
            match cover:
                case Regions(regions=regions):
                    result = Result(job, 1, len(regions), 0)
                case WholeFrame():
                    result = Result(job, 1, 0, 1)
            with Masker().mask(raw, cover) as masked:
                write_still(masked, job.output, lambda whole: self._attest(whole, source_hash, result))
        return result

    def _still_cover(self, raw: RawFrame) -> Cover:
        info = raw.info
        try:
            report = self._still_detector.detect(raw)
        except DetectorError as error:
            note_fault(self._log, str(error))
            return WholeFrame(info.sequence, Reason.DETECTOR_FAILED)
        if (reason := objection(report, info)) is not None:
            return WholeFrame(info.sequence, reason)
        thresholds = self._still_detector.thresholds
        targets = [
            Target(found.kind, found.box, found.score, index)
            for index, found in enumerate(report.detections)
            if found.score >= thresholds[found.kind].score
        ]
        return MaskPolicy(self._config.mask, info.width, info.height).cover(
            info.sequence, report.detectors, targets
        )


class _Counting:
    """Tells progress of each packet on its way into the file."""

    def __init__(self, video: VideoFile, progress: Progress) -> None:
        self._video = video
        self._progress = progress

    def publish(self, packet: MaskedPacket) -> None:
        self._video.publish(packet)
        self._progress(self._video.packets)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"The folder {folder} cannot be made: {error.strerror}.", hint="Name another output."
        ) from error
