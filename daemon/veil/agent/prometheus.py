"""Health as Prometheus reads it, on a port of this machine only: text exposition format 0.0.4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Final

from veil.errors import LinkError
from veil.host.small_http import Page, SmallServer
from veil.messages.health import BoxHealth, CameraCondition, CameraHealth, Health

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ADDRESS: Final = "127.0.0.1"
_AT_ONCE: Final = 4
_MIB: Final = 1 << 20

Sample = tuple[Mapping[str, str], float]


def exposition(health: Health | None) -> str:
    """The page. Without health (the agent has just begun) it says `veil_up 0` and nothing else."""
    return "".join(_families(health))


def _families(health: Health | None) -> Iterator[str]:
    yield _family(
        "veil_up", "gauge", "Whether the agent knows how the box is.", [({}, float(health is not None))]
    )
    if health is None:
        return
    yield from _of_box(health.box)
    cameras = health.cameras.items()

    def each(read: Callable[[CameraHealth], float | None]) -> list[Sample]:
        values = [(name, read(camera)) for name, camera in cameras]
        return [({"camera": name}, value) for name, value in values if value is not None]

    for name, kind, text, read in _CAMERA:
        yield _family(f"veil_camera_{name}", kind, text, each(read))
    yield _family(
        "veil_camera_dropped_frames_total",
        "counter",
        "Frames dropped before masking, by reason.",
        [
            ({"camera": name, "reason": reason}, float(count))
            for name, camera in cameras
            for reason, count in sorted(camera.dropped.items())
        ],
    )
    yield _family(
        "veil_camera_condition",
        "gauge",
        "1 for the condition that the camera's process is in.",
        [
            ({"camera": name, "condition": str(one)}, float(camera.condition is one))
            for name, camera in cameras
            for one in CameraCondition
        ],
    )
    yield _family(
        "veil_camera_picture_ok",
        "gauge",
        "0 where the picture is frozen, black or covered.",
        each(lambda camera: float(camera.picture == "ok")),
    )


_CAMERA: Final[tuple[tuple[str, str, str, Callable[[CameraHealth], float | None]], ...]] = (
    ("connected", "gauge", "Whether the source is connected.", lambda camera: float(camera.connected)),
    ("fps_in", "gauge", "Frames a second from the source.", lambda camera: camera.fps_in),
    ("fps_out", "gauge", "Masked frames a second.", lambda camera: camera.fps_out),
    ("frames_in_total", "counter", "Frames from the source.", lambda camera: camera.frames_in),
    ("frames_out_total", "counter", "Masked frames.", lambda camera: camera.frames_out),
    ("whole_frames_total", "counter", "Frames hidden as a whole.", lambda camera: camera.whole_frames),
    ("slates_total", "counter", "Slates shown.", lambda camera: camera.slates),
    ("masks_total", "counter", "Masks painted.", lambda camera: camera.masks),
    ("reconnects_total", "counter", "Reconnects to the source.", lambda camera: camera.reconnects),
    ("segments_total", "counter", "Recordings closed.", lambda camera: camera.segments),
    ("latency_p50_seconds", "gauge", "Median delay of a frame.", lambda camera: camera.latency_p50_ms / 1000),
    ("latency_p99_seconds", "gauge", "99th percentile.", lambda camera: camera.latency_p99_ms / 1000),
    ("detector_p50_seconds", "gauge", "Median detector time.", lambda camera: camera.detector_p50_ms / 1000),
    ("detector_p99_seconds", "gauge", "99th percentile.", lambda camera: camera.detector_p99_ms / 1000),
    ("last_frame_age_seconds", "gauge", "Age of the last frame.", lambda camera: camera.last_frame_age_s),
)


def _of_box(box: BoxHealth) -> Iterator[str]:
    bundle = box.bundle
    about = {"version": box.version, "python": box.python, "system": box.system, "config": box.config_sha256}
    if bundle is not None:
        about |= {"bundle": f"{bundle.name}@{bundle.version}", "bundle_sha256": bundle.sha256}
    yield _family("veil_box_info", "gauge", "What runs here.", [(about, 1.0)])
    gauges: tuple[tuple[str, str, float | None], ...] = (
        ("cpu_ratio", "Use of the CPU, 0 to 1.", box.cpu_percent / 100),
        ("memory_used_bytes", "Memory in use.", box.memory_used_mib * _MIB),
        ("memory_total_bytes", "Memory there is.", box.memory_total_mib * _MIB),
        ("disk_free_bytes", "Space left.", box.disk_free_mib * _MIB),
        ("disk_total_bytes", "Space there is.", box.disk_total_mib * _MIB),
        ("temperature_celsius", "The hottest sensor.", box.temperature_c),
        ("clock_synchronised", "Whether a time service keeps the clock.", float(box.clock_synchronised)),
        (
            "clock_max_error_seconds",
            "The kernel's estimate.",
            None if box.clock_offset_ms is None else box.clock_offset_ms / 1000,
        ),
        ("uptime_seconds", "Since the machine started.", box.uptime_s),
        ("queue_events", "Log lines that no fleet manager has cosigned yet.", box.queue_events),
        ("queue_bytes", "Their size.", box.queue_bytes),
    )
    for name, text, value in gauges:
        if value is not None:
            yield _family(f"veil_box_{name}", "gauge", text, [({}, value)])


def _family(name: str, kind: str, text: str, samples: list[Sample]) -> str:
    if not samples:
        return ""
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {float(value)!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Exporter:
    """`http://127.0.0.1:PORT/metrics`, a few requests at a time. A context manager; port 0: nothing.

    Raises LinkError where the port cannot be listened at.

    Args:
        read: the newest health; called in threads of the exporter.
    """

    def __init__(self, port: int, read: Callable[[], Health | None]) -> None:
        self._port = port
        self._read = read
        self._scope = ExitStack()

    def __enter__(self) -> Exporter:
        if not self._port:
            return self
        server = SmallServer(_ADDRESS, self._port, self._page, at_once=_AT_ONCE, name="metrics")
        try:
            self._scope.enter_context(server)
        except OSError as error:
            raise LinkError(
                f"The metrics cannot be served at {_ADDRESS}:{self._port}: {error.strerror}.",
                hint="Choose another agent.prometheus_port, or 0 for none.",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.close()

    def _page(self, path: str) -> Page | None:
        return Page(CONTENT_TYPE, exposition(self._read()).encode()) if path == "/metrics" else None
