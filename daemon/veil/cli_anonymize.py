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

from veil.anonymize import Anonymizer, Job, Progress
from veil.audit.log import EventLog, Unlogged
from veil.command_line import complain
from veil.config import CameraConfig
from veil.detect.detector import EveryTile, load_detector
from veil.domain.clock import SystemClock
from veil.errors import VeilError
from veil.host.memory import set_aside_what_is_loaded
from veil.host.turns import take_short_turns


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


def anonymize_files(jobs: list[Job], settings: CameraConfig, evidence: Path | None) -> int:
    """Works on all; the exit code: that of the first file that failed, where others did not.

    Raises VeilError where the only one failed, or nothing can be done.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    take_short_turns()
    cv2.setNumThreads(1)
    clock = SystemClock()
    failed: list[VeilError] = []
    with ExitStack() as scope:
        log = (
            scope.enter_context(EventLog(evidence, "file", clock, reserve_bytes=0))
            if evidence
            else Unlogged()
        )
        # A file waits: what is found in it must not depend on how busy the machine is.
        unhurried = settings.detector.model_copy(update={"time_budget_ms": math.inf})
        detector = scope.enter_context(load_detector(unhurried))
        worker = Anonymizer(settings, detector, log, clock, still_detector=EveryTile(detector))
        shown = scope.enter_context(_bars())
        set_aside_what_is_loaded()
        for job in jobs:
            try:
                result = worker.run(job, shown.of(job))
            except VeilError as error:
                if len(jobs) == 1:
                    raise
                failed.append(error)
                complain(error, "veil")
                continue
            print(f"{job.output}: {result.frames} frames, {result.masks} masks, {result.whole} hidden whole")
            if result.undecodable:
                print(
                    f"warning: {job.source} is damaged: {result.undecodable} pictures could not be decoded "
                    "and are hidden or left out",
                    file=sys.stderr,
                )
    return failed[0].exit_code if failed else 0
