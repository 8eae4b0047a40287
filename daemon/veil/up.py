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
from veil.supervise import Service, Supervision

GI_PYTHON = "/usr/bin/python3"


def services(config: Config) -> list[Service]:
    """The RTSP server and one service per camera."""
    package_parent = str(Path(veil.__file__).resolve().parent.parent)
    listed = []
    if config.rtsp.enabled:
        listed.append(rtsp_service(config, package_parent))
    for name in config.cameras:
        command = [sys.executable, "-m", "veil.cli", "camera", name]
        if config.path is not None:
            command += ["--config", str(config.path)]
        listed.append(Service(f"camera {name}", command, notifies=True))
    return listed


def rtsp_service(config: Config, package_parent: str) -> Service:
    """The distribution's Python runs it, which has gi; ours does not."""
    command = [
        GI_PYTHON,
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
    return Service("rtsp", command, notifies=False, environ={"PYTHONPATH": package_parent})


def run_all(config: Config) -> None:
    """Until SIGINT or SIGTERM; nothing that was started outlives it. Raises ConfigError without cameras."""
    if not config.cameras:
        raise ConfigError("No camera is configured.", hint="Add a section [camera.NAME] with a source.")
    ended = asked_to_end()
    config.box.runtime_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as scope:
        if config.page.port:
            scope.enter_context(preview_page(config))
        supervision = scope.enter_context(Supervision(services(config)))
        for line in addresses(config):
            print(line, flush=True)
        supervision.run(ended.is_set)


def addresses(config: Config) -> Sequence[str]:
    """Where a person finds what a box makes, one line each."""
    host = os.uname().nodename if config.rtsp.address == "0.0.0.0" else config.rtsp.address  # noqa: S104
    lines = []
    for name in config.cameras:
        if config.rtsp.enabled:
            lines.append(f"stream of {name}: rtsp://{host}:{config.rtsp.port}/{name}")
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
