"""A health message with something in every field."""

from __future__ import annotations

from veil.messages.health import BoxHealth, Bundle, CameraCondition, CameraHealth, Health


def health(*, reason: str = "detector_slow", system: str = "Linux") -> Health:
    return Health(
        device="box-7",
        time="2026-11-21T12:00:00.000000Z",
        cameras={
            "front": _camera(CameraCondition.RUNNING, "ok", 29.9, {reason: 3, "late": 1}),
            "yard": _camera(CameraCondition.HUNG, "black", 0.0, {}),
        },
        box=BoxHealth(
            cpu_percent=20.5,
            memory_used_mib=900,
            memory_total_mib=8000,
            disk_free_mib=5000,
            disk_total_mib=20_000,
            temperature_c=51.5,
            clock_synchronised=True,
            clock_offset_ms=1.5,
            uptime_s=1000,
            version="1.2.3",
            python="3.13.1",
            system=system,
            config_sha256="a" * 64,
            bundle=Bundle(name="veil-s", version="0.2.0", sha256="b" * 64),
            queue_events=12,
            queue_bytes=4096,
        ),
    )


def _camera(condition: CameraCondition, picture: str, fps: float, dropped: dict[str, int]) -> CameraHealth:
    return CameraHealth(
        condition=condition,
        picture=picture,
        connected=picture == "ok",
        fps_in=30.0,
        fps_out=fps,
        frames_in=1000,
        frames_out=990,
        dropped=dropped,
        whole_frames=7,
        slates=2,
        masks=4000,
        latency_p50_ms=540.0,
        latency_p99_ms=700.25,
        detector_p50_ms=20.0,
        detector_p99_ms=31.0,
        reconnects=1,
        segments=5,
        last_frame_age_s=0.03 if picture == "ok" else None,
    )
