"""A camera's process as seen from outside: what it last said of itself, and whether it still lives."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from veil.domain.clock import NANOSECONDS, Clock
from veil.messages.health import CameraCondition, CameraHealth

SILENT_S: Final = 5.0
"""A process says something each second; after so long without a word it hangs."""
STARTING_S: Final = 90.0
"""So long a process may take until it says something for the first time (TimeoutStartSec of its unit)."""
_STILL_S: Final = 3.0
_MAX_STATE_BYTES: Final = 1 << 20
_FLOCK = "hhqqi4x"


class _State(BaseModel):
    """state.json, written by `veil.camera`. Its own file: what is there besides is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    pid: int
    written_ns: int
    moving: bool
    frames_in: int
    frames_out: int
    slates: int
    whole: int
    masks: int
    dropped: Mapping[str, int]
    reconnects: int
    segments: int
    fps_in: float
    fps_out: float
    latency_p50_ns: int
    latency_p99_ns: int
    detect_p50_ns: int
    detect_p99_ns: int
    last_frame_ns: int
    picture: str
    connected: bool
    slating: bool


@dataclass(slots=True)
class _Start:
    """The process that was there last, and since when it was seen."""

    pid: int
    seen_ns: int


class CameraWatch:
    """One camera.

    Args:
        state: the file that its process writes each second (`CameraPlaces.state`).
        log: its log, which a living process holds locked (`CameraPlaces.log`).
    """

    def __init__(self, state: Path, log: Path, clock: Clock) -> None:
        self._state = state
        self._log = log
        self._clock = clock
        self._start: _Start | None = None

    def look(self) -> CameraHealth:
        now_ns = self._clock.monotonic_ns()
        pid = holder_of(self._log)
        said = _read(self._state)
        if said is not None and said.written_ns > now_ns:
            # From before the machine started.
            said = None
        condition = self._condition(pid, said, now_ns)
        return _health(said, condition, now_ns)

    def _condition(self, pid: int | None, said: _State | None, now_ns: int) -> CameraCondition:
        if pid is None:
            self._start = None
            return CameraCondition.STOPPED
        if self._start is None or self._start.pid != pid:
            self._start = _Start(pid, now_ns)
        # 0: the process is in another namespace, its number says nothing.
        if said is None or (pid and said.pid != pid):
            starting_s = (now_ns - self._start.seen_ns) / NANOSECONDS
            return CameraCondition.SLATE if starting_s < STARTING_S else CameraCondition.HUNG
        if not said.moving or now_ns - said.written_ns > SILENT_S * NANOSECONDS:
            return CameraCondition.HUNG
        if said.slating or not said.connected:
            return CameraCondition.SLATE
        return CameraCondition.RUNNING


def holder_of(log: Path) -> int | None:
    """The process that holds a log's lock; 0 for one that we cannot see, None for nobody."""
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        # A log that we may not read says nothing about its process.
        return None if error.errno in {errno.ENOENT, errno.ENOTDIR} else 0
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else max(0, pid)


def _read(path: Path) -> _State | None:
    try:
        with path.open("rb") as file:
            return _State.model_validate(json.loads(file.read(_MAX_STATE_BYTES)))
    except (OSError, ValueError, ValidationError, RecursionError):
        return None


def _health(said: _State | None, condition: CameraCondition, now_ns: int) -> CameraHealth:
    if said is None:
        return CameraHealth.model_validate(_NOTHING | {"condition": condition})
    alive = condition in {CameraCondition.RUNNING, CameraCondition.SLATE}
    age_s = (now_ns - said.last_frame_ns) / NANOSECONDS if said.last_frame_ns else None
    moving = alive and age_s is not None and age_s < _STILL_S
    return CameraHealth(
        condition=condition,
        picture=said.picture[:400],
        connected=said.connected and alive,
        # Rates are those of the last frames: without new ones they would stand still.
        fps_in=round(said.fps_in, 2) if moving else 0.0,
        fps_out=round(said.fps_out, 2) if moving and condition is CameraCondition.RUNNING else 0.0,
        frames_in=said.frames_in,
        frames_out=said.frames_out,
        dropped=dict(sorted(said.dropped.items())[:32]),
        whole_frames=said.whole,
        slates=said.slates,
        masks=said.masks,
        latency_p50_ms=_ms(said.latency_p50_ns),
        latency_p99_ms=_ms(said.latency_p99_ns),
        detector_p50_ms=_ms(said.detect_p50_ns),
        detector_p99_ms=_ms(said.detect_p99_ns),
        reconnects=said.reconnects,
        segments=said.segments,
        last_frame_age_s=None if age_s is None else round(max(0.0, age_s), 1),
    )


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 2)


_NOTHING: Final[dict[str, Any]] = {
    "picture": "ok",
    "connected": False,
    "fps_in": 0.0,
    "fps_out": 0.0,
    "frames_in": 0,
    "frames_out": 0,
    "dropped": {},
    "whole_frames": 0,
    "slates": 0,
    "masks": 0,
    "latency_p50_ms": 0.0,
    "latency_p99_ms": 0.0,
    "detector_p50_ms": 0.0,
    "detector_p99_ms": 0.0,
    "reconnects": 0,
    "segments": 0,
}
