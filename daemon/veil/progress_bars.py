"""Bars on a terminal: one for each file that is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

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

from veil.anonymize import Progress as Told
from veil.jobs import Job, frames_of


class _FrameRate(ProgressColumn):
    """Frames a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} fps")


class Bars:
    """A bar for each file that was begun."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def of(self, job: Job) -> Told:
        """Moves the bar of `job` to so many frames."""
        task = self._shown.add_task(job.source.name, total=frames_of(job))
        return partial(self._moved, task)

    def _moved(self, task: TaskID, done: int) -> None:
        self._shown.update(task, completed=done)


@contextmanager
def bars() -> Iterator[Bars]:
    """On stderr, while the context lasts."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        _FrameRate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        yield Bars(shown)
