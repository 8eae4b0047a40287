"""Health messages of an honest box."""

from __future__ import annotations

from typing import Any

from fleet.boxes import START_NS, Box
from veil.audit.event import timestamp
from veil.messages.health import Health
from veil.messages.topics import Kind
from veil_fleet.collector.heard import Received

_CAMERA: dict[str, Any] = {
    "condition": "running",
    "picture": "ok",
    "connected": True,
    "fps_in": 15.0,
    "fps_out": 15.0,
    "frames_in": 1000,
    "frames_out": 998,
    "dropped": {"detector_behind": 2},
    "whole_frames": 1,
    "slates": 0,
    "masks": 1200,
    "latency_p50_ms": 610.0,
    "latency_p99_ms": 690.0,
    "detector_p50_ms": 21.0,
    "detector_p99_ms": 32.0,
    "reconnects": 0,
    "segments": 12,
    "last_frame_age_s": 0.04,
}
_MACHINE: dict[str, Any] = {
    "cpu_percent": 31.0,
    "memory_used_mib": 900,
    "memory_total_mib": 3900,
    "disk_free_mib": 20_000,
    "disk_total_mib": 60_000,
    "clock_synchronised": True,
    "uptime_s": 86_400,
    "version": "1.0.0",
    "python": "3.11.2",
    "system": "Debian GNU/Linux 12",
    "config_sha256": "ab" * 32,
    "queue_bytes": 0,
}


def health(box: Box, *, queue_events: int = 0, cameras: tuple[str, ...] = ("front",)) -> Received:
    message = {
        "v": 1,
        "device": box.name,
        "time": timestamp(START_NS),
        "cameras": dict.fromkeys(cameras, _CAMERA),
        "box": _MACHINE | {"queue_events": queue_events},
    }
    made = Health.model_validate(message, strict=False)
    return box.received(Kind.HEALTH, "", made.encode())
