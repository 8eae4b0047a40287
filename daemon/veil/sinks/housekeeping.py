"""Recordings that were left and recordings that are old: done, and said in the log."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

from veil.audit.event import Event, Kind, Value, said
from veil.audit.log import EventSink, note_fault
from veil.config import RecorderConfig
from veil.domain.clock import Clock
from veil.errors import LogError, SinkError
from veil.sinks.repair import RepairOutcome, repair
from veil.sinks.retention import SegmentDeleted, retain

_INTERVAL_S = 60.0


def repair_recordings(directory: Path, log: EventSink) -> None:
    """What a power cut left is made whole or set aside, with an event each. Raises SinkError, LogError."""
    for done in repair(directory) if directory.exists() else ():
        if done.outcome is RepairOutcome.IN_USE:
            continue
        data: dict[str, Value] = {
            "file": done.path.name,
            "sha256": done.sha256,
            "bytes": done.size,
            "bytes_cut": done.lost,
            "frames": done.frames,
            "reason": said(done.reason),
        }
        recovered = done.outcome is RepairOutcome.RECOVERED
        log.append(Event(Kind.SEGMENT_RECOVERED if recovered else Kind.SEGMENT_SET_ASIDE, data))


class Retention:
    """A context manager: once a minute, what is too old or too much is deleted, after its event."""

    def __init__(self, config: RecorderConfig, directory: Path, log: EventSink, clock: Clock) -> None:
        self._config = config
        self._directory = directory
        self._log = log
        self._clock = clock
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def __enter__(self) -> Retention:
        self._thread.start()
        return self

    def _work(self) -> None:
        while not self._done.wait(_INTERVAL_S):
            try:
                retain(self._config, self._directory, self._clock, self._deleted)
            except SinkError as error:
                note_fault(self._log, error.message)
            except LogError:
                # No trace, no deletion; the output stage meets the same error and ends the process.
                return

    def _deleted(self, segment: SegmentDeleted) -> None:
        data: dict[str, Value] = {
            "file": segment.path.name,
            "sha256": segment.sha256,
            "bytes": segment.size,
            "reason": str(segment.reason),
        }
        self._log.append(Event(Kind.SEGMENT_DELETED, data))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
