"""`veil anonymize`: files, with a bar on a terminal and a line for each that is done."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

import cv2

from veil.anonymize import Anonymizer, Progress, Result
from veil.audit.log import EventLog, Unlogged
from veil.command_line import complain
from veil.config import CameraConfig, CaptureConfig
from veil.detect.detector import EveryTile, load_detector
from veil.domain.clock import SystemClock
from veil.errors import VeilError
from veil.host.memory import set_aside_what_is_loaded
from veil.host.turns import take_short_turns
from veil.jobs import Job, Plan
from veil.origin import not_hidden

_FILE_SIZE = {"max_width": 4096, "max_height": 3072}


class _Bars(Protocol):
    """What is seen of the work while it is done."""

    def of(self, job: Job) -> Progress: ...


class _NoBars:
    """Where nobody looks."""

    def of(self, job: Job) -> Progress:
        del job
        return lambda _: None


@contextmanager
def _bars() -> Iterator[_Bars]:
    """A bar for each file on a terminal. What draws it is loaded only there: a tenth of the start."""
    if not sys.stderr.isatty():
        yield _NoBars()
        return
    from veil.progress_bars import bars

    with bars() as shown:
        yield shown


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """As Ctrl-C does: what is half written goes on the way out."""
    del frame
    raise SystemExit(128 + number)


def for_files(settings: CameraConfig) -> CameraConfig:
    """`settings` with the limit for files where they have that for cameras: twelve megapixels, which photo
    cameras and phones record."""
    usual, capture = CaptureConfig(), settings.capture
    if (capture.max_width, capture.max_height) != (usual.max_width, usual.max_height):
        return settings
    return settings.model_copy(update={"capture": capture.model_copy(update=_FILE_SIZE)})


def anonymize_files(planned: Plan, settings: CameraConfig, evidence: Path | None) -> int:
    """Works on all, and says what is left out; the exit code: that of the first file or folder that failed,
    where others did not.

    Raises VeilError where the only one failed, or nothing can be done.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    take_short_turns()
    cv2.setNumThreads(1)
    clock = SystemClock()
    settings = for_files(settings)
    jobs = planned.jobs
    for sentence in planned.left_out:
        _warn(sentence)
    if planned.made:
        print(f"{planned.made} of {planned.made + len(jobs)} files were done before, and are left")
    failed: list[VeilError] = [*planned.unreadable]
    for error in failed:
        complain(error, "veil")
    if planned.made and not jobs:
        return failed[0].exit_code if failed else 0
    with ExitStack() as scope:
        log = (
            scope.enter_context(EventLog(evidence, "file", clock, reserve_bytes=0))
            if evidence
            else Unlogged()
        )
        # A file waits: what is found in it must not depend on how busy the machine is.
        unhurried = settings.detector.model_copy(update={"time_budget_ms": math.inf})
        detector = scope.enter_context(load_detector(unhurried))
        if (never := not_hidden(settings, detector)) is not None:
            _warn(" ".join(never))
        worker = Anonymizer(settings, detector, log, clock, still_detector=EveryTile(detector))
        shown = scope.enter_context(_bars())
        set_aside_what_is_loaded()
        for job in jobs:
            try:
                result = worker.run(job, shown.of(job))
            except VeilError as error:
                if len(jobs) == 1 and not failed:
                    raise
                failed.append(error)
                complain(error, "veil")
                continue
            _tell(result)
    return failed[0].exit_code if failed else 0


def _tell(result: Result) -> None:
    job = result.job
    print(f"{job.output}: {result.frames} frames, {result.masks} masks, {result.whole} hidden whole")
    if result.undecodable:
        _warn(
            f"{job.source} is damaged: {result.undecodable} pictures could not be decoded "
            "and are hidden or left out"
        )
    if result.other_videos:
        _warn(f"{job.source} has {result.other_videos + 1} videos in it, of which only one was taken")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
