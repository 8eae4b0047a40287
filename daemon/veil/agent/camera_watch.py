"""A camera's process as seen from outside: what it last said of itself, and whether it still lives."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from veil.audit import writer_lock
from veil.domain.clock import NANOSECONDS, Clock
from veil.messages.health import CameraCondition, CameraHealth

SILENT_S: Final = 5.0
"""A process says something each second; after so long without a word it hangs."""
STARTING_S: Final = 90.0
"""So long a process may take until it says something for the first time (TimeoutStartSec of its unit)."""
_STILL_S: Final = 3.0
_MAX_STATE_BYTES: Final = 1 << 20


class _State(BaseModel):
    """state.json, as `veil.state_file` writes it; what is there besides is not read."""

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
        self._starting_since_ns: int | None = None

    def look(self) -> CameraHealth:
        now_ns = self._clock.monotonic_ns()
        said = _read(self._state)
        if said is not None and (said.written_ns > now_ns or not _is_there(said.pid)):
            # Of a process before, or from before the machine started.
            said = None
        condition = self._condition(said, now_ns)
        return _health(said, condition, now_ns)

    def _condition(self, said: _State | None, now_ns: int) -> CameraCondition:
        runs = is_written(self._log)
        if not runs or said is not None:
            self._starting_since_ns = None
        if not runs:
            return CameraCondition.STOPPED
        if said is None:
            since_ns = self._starting_since_ns = self._starting_since_ns or now_ns
            is_starting = now_ns - since_ns < STARTING_S * NANOSECONDS
            return CameraCondition.SLATE if is_starting else CameraCondition.HUNG
        if not said.moving or now_ns - said.written_ns > SILENT_S * NANOSECONDS:
            return CameraCondition.HUNG
        if said.slating or not said.connected:
            return CameraCondition.SLATE
        return CameraCondition.RUNNING


def is_written(log: Path) -> bool:
    """Whether a process has the log open for writing; True for a log that cannot be read."""
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        return error.errno not in {errno.ENOENT, errno.ENOTDIR}
    try:
        return writer_lock.is_taken(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _is_there(pid: int) -> bool:
    """Whether there is such a process, whoever owns it."""
    try:
        if pid > 0:
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


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
        picture=said.picture[:64],
        connected=said.connected and alive,
        # Rates are those of the last frames: without new ones they would stand still.
        fps_in=round(said.fps_in, 2) if moving else 0.0,
        fps_out=round(said.fps_out, 2) if moving and condition is CameraCondition.RUNNING else 0.0,
        frames_in=said.frames_in,
        frames_out=said.frames_out,
        dropped={name[:64]: count for name, count in sorted(said.dropped.items())[:16]},
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
