"""Status, health and camera state: what a dashboard shows. Retained; nothing here is evidence."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from veil.messages.base import Count, DeviceName, LogName, Message, Number, Part, Sha256, Text, Time

EXPIRES_S = 45
"""A status that was not refreshed for this long is no longer true."""

REFRESH_S = EXPIRES_S / 3

HEALTH_EVERY_S = 30


class Bundle(Part):
    """The model bundle in use."""

    name: Text
    version: Text
    sha256: Sha256


class Status(Message):
    """`veil/DEVICE/status`. The will says `offline`, `lost`; `online` holds for `expires_s`.

    Attributes:
        reason: why offline: `stopped` (said by the agent), `lost` (said by the broker).
        session: random, new with each start of the agent: tells a restart from a reconnect.
        since: start of the agent, wall clock.
    """

    device: DeviceName
    state: Literal["online", "offline"]
    reason: Literal["stopped", "lost"] | None = None
    session: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    since: Time
    expires_s: Annotated[int, Field(ge=1, le=3600)] = EXPIRES_S
    version: Text
    site: Text = ""
    cameras: Annotated[tuple[LogName, ...], Field(max_length=64)] = ()
    bundle: Bundle | None = None


class CameraCondition(StrEnum):
    """What a camera's process is doing, as the agent sees it from outside."""

    RUNNING = "running"
    SLATE = "slate"
    """It runs and has nothing safe to show: source away, or hidden as a whole."""
    STOPPED = "stopped"
    HUNG = "hung"
    """Its process is there and has said nothing for a while."""


class CameraHealth(Part):
    """Numbers of one camera; times in milliseconds, rates over the last frames.

    Attributes:
        dropped: frames dropped since the process started, by reason.
        whole_frames: frames hidden as a whole since the process started.
        picture: `ok`, `frozen`, `black` or `covered`.
    """

    condition: CameraCondition
    picture: Text
    connected: bool
    fps_in: Number
    fps_out: Number
    frames_in: Count
    frames_out: Count
    dropped: Annotated[dict[Text, Count], Field(max_length=32)]
    whole_frames: Count
    slates: Count
    masks: Count
    latency_p50_ms: Number
    latency_p99_ms: Number
    detector_p50_ms: Number
    detector_p99_ms: Number
    reconnects: Count
    segments: Count
    last_frame_age_s: Number | None = None


class BoxHealth(Part):
    """The machine.

    Attributes:
        temperature_c: hottest sensor; None without one.
        clock_offset_ms: the kernel's estimate of the clock's greatest error; None where it does not know.
        queue_events: log lines that no fleet manager has cosigned yet.
    """

    cpu_percent: Number
    memory_used_mib: Count
    memory_total_mib: Count
    disk_free_mib: Count
    disk_total_mib: Count
    temperature_c: Number | None = None
    clock_synchronised: bool
    clock_offset_ms: Number | None = None
    uptime_s: Count
    version: Text
    python: Text
    system: Text
    config_sha256: Sha256
    bundle: Bundle | None = None
    queue_events: Count
    queue_bytes: Count


class Health(Message):
    """`veil/DEVICE/health`, every 30 s and on change."""

    device: DeviceName
    time: Time
    cameras: Annotated[dict[LogName, CameraHealth], Field(max_length=64)]
    box: BoxHealth


class CameraState(Message):
    """`veil/DEVICE/camera/NAME/state`, on change and at birth."""

    camera: LogName
    time: Time
    condition: CameraCondition
    picture: Text
    connected: bool
    reason: Text = ""
