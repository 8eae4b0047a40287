"""`veil anonymize`: files, with a bar on a terminal and a line for each that is done."""

from __future__ import annotations

import math
import signal
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import cv2
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from veil.anonymize import Anonymizer, Job, frames_of
from veil.audit.log import EventLog, Unlogged
from veil.command_line import complain
from veil.config import CameraConfig
from veil.detect.detector import EveryTile, load_detector
from veil.domain.clock import SystemClock
from veil.errors import VeilError
from veil.host.turns import take_short_turns


class _FrameRate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} fps")


def _moved(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


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
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        _FrameRate(),
        TimeRemainingColumn(),
    )
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
        bar = scope.enter_context(Progress(*columns, console=console, disable=not console.is_terminal))
        for job in jobs:
            task = bar.add_task(job.source.name, total=frames_of(job))
            try:
                result = worker.run(job, partial(_moved, bar, task))
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
