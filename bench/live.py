"""Live: RTSP cameras in real time through `veil up`'s parts, with a client on each anonymized stream."""

from __future__ import annotations

import compileall
import json
import os
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import veil
from veil.config import Config
from veil.config_load import load_config
from veil.host.resources import process_use
from veil.places import CameraPlaces
from veil.supervise import Supervision
from veil.up import gi_service, services


@dataclass(frozen=True, slots=True)
class LiveResult:
    """One camera after the run. Memory in MiB, times in milliseconds."""

    camera: str
    frames_in: int
    frames_out: int
    dropped: dict[str, int]
    whole: int
    slates: int
    fps_out: float
    latency_p50_ms: float
    latency_p99_ms: float
    detect_p50_ms: float
    resident_mib: float
    first_frame_s: float
    stages_us: dict[str, float]


def run_live(stream: Path, *, rate: int, cameras: int, seconds: float) -> list[LiveResult]:
    """Serves `stream` once per camera and runs the box's processes for `seconds`."""
    with ExitStack() as scope:
        folder = Path(scope.enter_context(tempfile.TemporaryDirectory(prefix="veil-bench-")))
        ports = [free_port() for _ in range(cameras + 1)]
        names = [f"c{number}" for number in range(cameras)]
        config = _config(folder, dict(zip(names, ports[1:], strict=True)), ports[0])
        sources = [
            gi_service(
                f"source {name}", ["-m", "veil.demo.serve", str(stream), str(rate), str(port)], notifies=False
            )
            for name, port in zip(names, ports[1:], strict=True)
        ]
        feeding = scope.enter_context(Supervision(sources))
        feeding.run(_after(2.0))
        config.box.runtime_dir.mkdir(parents=True)
        # As pip leaves an installation: compiling is no part of a box's start.
        compileall.compile_dir(Path(veil.__file__).parent, quiet=2)
        begun, begun_wall = time.monotonic(), time.time()
        box = scope.enter_context(Supervision(services(config)))
        first: dict[str, float] = {}

        def started() -> bool:
            for name in names:
                if name not in first and (left := _first_left(config, name, rate)) is not None:
                    first[name] = left - begun_wall
            return len(first) == len(names) or time.monotonic() - begun > 30

        box.run(started)
        clients = [scope.enter_context(_client(f"rtsp://127.0.0.1:{ports[0]}/{name}")) for name in names]
        box.run(_after(seconds))
        results = [_result(config, name, box.pids(), first.get(name, -1.0)) for name in names]
        for client in clients:
            client.terminate()
        return results


def _config(folder: Path, sources: dict[str, int], port: int) -> Config:
    lines = ["[box]", f'state_dir = "{folder}/state"', f'runtime_dir = "{folder}/run"']
    lines += ["[rtsp]", 'address = "127.0.0.1"', f"port = {port}"]
    for name, source_port in sources.items():
        lines += [f"[camera.{name}]", f'source = "rtsp://127.0.0.1:{source_port}/camera"']
    path = folder / "veil.toml"
    path.write_text("\n".join(lines) + "\n")
    return load_config(path, os.environ)


def _client(url: str) -> subprocess.Popen[bytes]:
    command = ["ffmpeg", "-v", "quiet", "-rtsp_transport", "tcp", "-i", url, "-c", "copy", "-f", "null", "-"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _result(config: Config, name: str, pids: Any, first: float) -> LiveResult:
    state = _state(config, name)
    return LiveResult(
        camera=name,
        frames_in=state["frames_in"],
        frames_out=state["frames_out"],
        dropped=state["dropped"],
        whole=state["whole"],
        slates=state["slates"],
        fps_out=state["fps_out"],
        latency_p50_ms=state["latency_p50_ns"] / 1e6,
        latency_p99_ms=state["latency_p99_ns"] / 1e6,
        detect_p50_ms=state["detect_p50_ns"] / 1e6,
        resident_mib=process_use(pids[f"camera {name}"]).peak_resident_bytes / 2**20,
        first_frame_s=first,
        stages_us={stage: value / 1e3 for stage, value in state["stages"].items()},
    )


def _state(config: Config, name: str) -> dict[str, Any]:
    try:
        return dict(json.loads(CameraPlaces.of(config, name).state.read_text()))
    except (OSError, ValueError):
        return {}


def _first_left(config: Config, name: str, rate: int) -> float | None:
    """Wall time at which the first masked frame left. The state file, written once a second, counts them."""
    frames = _state(config, name).get("frames_out", 0)
    if not frames:
        return None
    return CameraPlaces.of(config, name).state.stat().st_mtime - (frames - 1) / rate


def _after(seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
