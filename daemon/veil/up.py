"""`veil up`: the parts of a box in the foreground, for development and the demo."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import veil
from veil.config import Config
from veil.errors import ConfigError
from veil.places import CameraPlaces
from veil.sinks.preview import CameraView, PreviewPage
from veil.stages import Stages
from veil.supervise import Service

GI_PYTHON = "/usr/bin/python3"
AGENT = "agent"


def services(config: Config) -> list[Service]:
    """The RTSP server, the agent (it signs the logs with or without a fleet), and one service per camera."""
    listed = []
    if config.rtsp.enabled:
        listed.append(rtsp_service(config))
    listed.append(agent_service(config))
    for name in config.cameras:
        command = [sys.executable, "-m", "veil.cli", "camera", name]
        if config.path is not None:
            command += ["--config", str(config.path)]
        listed.append(Service(f"camera {name}", command, notifies=True))
    return listed


def agent_service(config: Config) -> Service:
    command = [sys.executable, "-m", "veil.cli", "agent"]
    if config.path is not None:
        command += ["--config", str(config.path)]
    return Service(AGENT, command, notifies=True)


def rtsp_service(config: Config) -> Service:
    arguments = [
        "-m",
        "veil.rtsp_server",
        "--socket",
        str(config.box.runtime_dir / "rtsp.sock"),
        "--address",
        config.rtsp.address,
        "--port",
        str(config.rtsp.port),
        "--slate-after",
        str(config.rtsp.slate_after_s),
    ]
    return gi_service("rtsp", arguments, notifies=True)


def gi_service(name: str, arguments: Sequence[str], *, notifies: bool) -> Service:
    """A program of ours under the distribution's Python."""
    package_parent = str(Path(veil.__file__).resolve().parent.parent)
    return Service(name, [GI_PYTHON, *arguments], notifies=notifies, environ={"PYTHONPATH": package_parent})


def run_all(config: Config) -> None:
    """Until SIGINT or SIGTERM; nothing that was started outlives it. Raises ConfigError without cameras."""
    if not config.cameras:
        raise ConfigError("No camera is configured.", hint="Add a section [camera.NAME] with a source.")
    ended = asked_to_end()
    config.box.runtime_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as scope:
        if config.page.port:
            scope.enter_context(preview_page(config))
        stages = scope.enter_context(Stages())
        # The agent ends last: it signs and sends what cameras write at their end.
        listed = services(config)
        stages.start([service for service in listed if service.name == AGENT])
        stages.start([service for service in listed if service.name != AGENT])
        for line in addresses(config):
            print(line, flush=True)
        stages.run(ended.is_set)


def preview_page(config: Config) -> PreviewPage:
    """The page over all cameras' snapshots."""
    views = {
        name: CameraView(
            snapshot=CameraPlaces.of(config, name).snapshot,
            stream=_stream(config, name) if config.rtsp.enabled else "",
            recordings=str(config.recordings(name)) if camera.recorder.enabled else "",
        )
        for name, camera in config.cameras.items()
    }
    return PreviewPage(views, address=config.page.address, port=config.page.port)


def _stream(config: Config, name: str) -> str:
    host = os.uname().nodename if config.rtsp.address == "0.0.0.0" else config.rtsp.address  # noqa: S104
    return f"rtsp://{host}:{config.rtsp.port}/{name}"


def addresses(config: Config) -> Sequence[str]:
    """Where a person finds what a box makes, one line each."""
    lines = []
    for name in config.cameras:
        if config.rtsp.enabled:
            lines.append(f"stream of {name}: {_stream(config, name)}")
        if config.cameras[name].recorder.enabled:
            lines.append(f"recordings of {name}: {config.recordings(name)}")
    if config.page.port:
        lines.append(f"page: http://{config.page.address}:{config.page.port}/")
    return lines


def asked_to_end() -> threading.Event:
    """Set at SIGINT or SIGTERM."""
    ended = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return ended
