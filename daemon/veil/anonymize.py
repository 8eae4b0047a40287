"""`veil anonymize`: files through the very same detector, tracker, look-back, policy, masker and encoder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.stream import VideoStream

from veil.analyse import Analyser
from veil.assemble import emitter_makers, lookback_ns
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventSink, note_fault
from veil.audit.tally import Totals
from veil.capture.file import ONLY_READ, FileSource
from veil.capture.source import DropReason
from veil.capture.still import FOREIGN_SUFFIXES, open_still
from veil.capture.still import SUFFIXES as STILL_SUFFIXES
from veil.config import CameraConfig
from veil.detect.detector import Detector
from veil.detect.guard import DetectorGuard, objection
from veil.domain.clock import Clock
from veil.domain.cover import Cover, Reason, Regions, WholeFrame
from veil.emit import Emitter
from veil.encode.packet import MaskedPacket
from veil.errors import CaptureError, DetectorError, SinkError, UsageError
from veil.frames.raw import RawFrame
from veil.mask.masker import Masker
from veil.mask.policy import MaskPolicy
from veil.mask.targets import Target
from veil.origin import origin_of
from veil.pipeline import FileWay, Observer, Parts, Pipeline, Pools
from veil.sinks.still import write_still
from veil.sinks.video_file import FORMATS, VideoFile
from veil.stats import CameraStats
from veil.timeline import FileTimeline
from veil.track.tracker import Tracker

_PATIENCE_S = 120.0
# Of variable rate: denser bursts leave with a shorter look-back.
_DENSEST_FRAME_RATE = 60.0

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Job:
    """One file to anonymize."""

    source: Path
    output: Path

    @property
    def is_still(self) -> bool:
        return self.source.suffix.lower() in STILL_SUFFIXES | FOREIGN_SUFFIXES


@dataclass(frozen=True, slots=True)
class Result:
    """What was done with one file. `undecodable`: pictures of the source that were damaged. They are among
    the frames, hidden as a whole; those whose time is not known are left out."""

    job: Job
    frames: int
    masks: int
    whole: int
    undecodable: int = 0


def plan(source: Path, output: Path, *, overwrite: bool) -> list[Job]:
    """The files to do: one, or all pictures and videos of a folder and its subfolders.

    Names are kept; in a folder, videos of a kind that is only read (`.avi`) get `.mp4` behind theirs. Raises
    UsageError where there is nothing to do, an output exists or is no file, two would be the same, or input
    and output are.
    """
    try:
        jobs = _jobs(source, output)
        for job in jobs:
            _check(job, overwrite=overwrite)
    except OSError as error:
        raise UsageError(
            f"{error.filename or source}: {error.strerror}.", hint="Check the path and its permissions."
        ) from error
    doubled = [path for path, count in Counter(job.output for job in jobs).items() if count > 1]
    if doubled:
        raise UsageError(f"Two files would become {doubled[0]}.", hint="Rename one, or do them one by one.")
    return jobs


def _jobs(source: Path, output: Path) -> list[Job]:
    if source.is_dir():
        if source.resolve() == output.resolve():
            raise UsageError(
                f"The files in {source} would be overwritten by their own outputs.",
                hint="Name another folder.",
            )
        known = STILL_SUFFIXES | FOREIGN_SUFFIXES | FORMATS.keys() | ONLY_READ
        done = output.resolve()
        jobs = [
            Job(path, _named(output / path.relative_to(source)))
            for path in sorted(source.rglob("*"))
            if path.suffix.lower() in known and path.is_file() and done not in path.resolve().parents
        ]
        if not jobs:
            raise UsageError(
                f"{source} holds no pictures or videos.", hint=f"Looked for {', '.join(sorted(known))}."
            )
        return jobs
    if not source.exists():
        raise UsageError(f"{source} does not exist.", hint="Check the path.")
    if not source.is_file():
        raise UsageError(f"{source} is not a file.", hint="For a camera use veil camera.")
    return [Job(source, _named(output / source.name) if output.is_dir() else output)]


def _named(output: Path) -> Path:
    return output.with_name(f"{output.name}.mp4") if output.suffix.lower() in ONLY_READ else output


def _check(job: Job, *, overwrite: bool) -> None:
    if job.output.resolve() == job.source.resolve():
        raise UsageError(f"{job.source} would be overwritten by its own output.", hint="Name another output.")
    if job.output.exists():
        if not job.output.is_file():
            raise UsageError(f"{job.output} exists and is not a file.", hint="Name another output.")
        if not overwrite:
            raise UsageError(f"{job.output} exists.", hint="Use --force to replace it, or another name.")
    if job.source.suffix.lower() in FOREIGN_SUFFIXES:
        # Its own error says what to do, and in a folder the others are done all the same.
        return
    if job.is_still != (job.output.suffix.lower() in STILL_SUFFIXES):
        raise UsageError(
            f"{job.source.name} cannot become {job.output.name}.",
            hint="Pictures become pictures and videos become videos.",
        )
    if not job.is_still and job.output.suffix.lower() not in FORMATS:
        known = ", ".join(sorted(FORMATS))
        raise UsageError(f"{job.output.name}: unknown kind of video file.", hint=f"Use one of {known}.")


def frames_of(job: Job) -> int | None:
    """How many frames a container says it has; None where it does not say. For progress only."""
    if job.is_still:
        return 1
    try:
        with av.open(f"file:{job.source}") as container:
            stream = container.streams.best("video")
            return (stream.frames or None) if isinstance(stream, VideoStream) else None
    except (av.FFmpegError, OSError):
        return None


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
            source_hash = _sha256(job.source)
        except OSError as error:
            raise CaptureError(
                f"{job.source} cannot be read: {error.strerror}.", hint="Check its permissions."
            ) from error
        _make_folder(job.output.parent)
        tally = Totals()
        result = self._still(job) if job.is_still else self._video(job, progress, tally)
        totals = {} if job.is_still else dict(tally.data())
        data: dict[str, Value] = {
            "source_sha256": source_hash,
            "output_sha256": _sha256(job.output),
            "output_bytes": job.output.stat().st_size,
            "frames": result.frames,
            "masks": result.masks,
            "whole": result.whole,
            "undecodable": result.undecodable,
            "bundle": self._detector.identity,
            **origin_of(self._config, self._detector),
            **{key: value for key, value in totals.items() if key not in {"masks"}},
        }
        self._log.append(Event(Kind.FILE_ANONYMIZED, data))
        return result

    def _video(self, job: Job, progress: Progress, tally: Totals) -> Result:
        config, clock, stats = self._config, self._clock, CameraStats()
        pools = Pools(config.mask.lookback_s, least_frame_rate=_DENSEST_FRAME_RATE)
        observer = Observer(stats, self._log)
        guard = DetectorGuard(
            self._detector,
            deadline_s=_PATIENCE_S,
            stuck_after_s=_PATIENCE_S,
            clock=clock,
            failed=lambda text: note_fault(self._log, text),
        )
        with VideoFile(job.output) as video, guard:
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
                source=FileSource(job.source, config.capture, pools, observer, clock),
                analyser=Analyser(guard, Tracker(config.tracker, self._detector.thresholds), stats),
                emitter=emitter,
                way=FileWay(_PATIENCE_S),
                stats=stats,
                log=self._log,
                clock=clock,
                patience_s=_PATIENCE_S,
            )
            Pipeline(parts).run()
        counts = stats.snapshot()
        undecodable = counts.dropped.get(str(DropReason.DECODE_ERROR), 0) + tally.whole(
            Reason.PICTURE_DAMAGED
        )
        return Result(job, counts.frames_out, counts.masks, counts.whole, undecodable)

    def _still(self, job: Job) -> Result:
        with open_still(job.source, self._clock) as raw:
            cover = self._still_cover(raw)
            with Masker().mask(raw, cover) as masked:
                write_still(masked, job.output)
        match cover:
            case Regions(regions=regions):
                return Result(job, 1, len(regions), 0)
            case WholeFrame():
                return Result(job, 1, 0, 1)

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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
