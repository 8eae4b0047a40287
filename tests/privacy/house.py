"""A whole box in real processes: a camera that needs a password, the supervision of `veil up`, the RTSP
server, the camera's process with the oracle for its detector, and an ffmpeg that watches."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import rtsp_server
import veil
from media import Image
from oracle import PICTURES, Scene, scene_clip
from veil.config import Config
from veil.config_load import load_config
from veil.supervise import Service, Supervision
from veil.up import rtsp_service

WIDTH, HEIGHT, RATE = 640, 360, 20
USER, PASSWORD = "operator-jane", "Corr3ct-Horse!Battery"
NAME = "front"
_TESTS = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Shown:
    """One picture as a viewer got it: when (monotonic), and its luma."""

    at: float
    luma: Image


class Watcher:
    """ffmpeg, started again whenever it ends, as a VMS does. A context manager with one thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._shown: list[Shown] = []
        self._done = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join(10)

    def pictures(self) -> list[Shown]:
        with self._lock:
            return list(self._shown)

    def _run(self) -> None:
        while not self._done.is_set():
            self.starts += 1
            self._process = subprocess.Popen(
                [
                    *("ffmpeg", "-nostdin", "-v", "quiet", "-rtsp_transport", "tcp"),
                    *("-fflags", "nobuffer", "-flags", "low_delay", "-probesize", "32", "-i", self._url),
                    *("-an", "-fps_mode", "passthrough", "-f", "image2pipe", "-c:v", "pgm", "-"),
                ],
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            with self._process as process:
                assert process.stdout is not None
                for luma in _greymaps(process.stdout.read):
                    with self._lock:
                        self._shown.append(Shown(time.monotonic(), luma))
                process.kill()
            self._done.wait(0.1)


def _greymaps(read: Callable[[int], bytes]) -> Iterator[Image]:
    while True:
        head = b""
        while head.count(b"\n") < 3:
            sign = read(1)
            if not sign:
                return
            head += sign
        width, height = (int(word) for word in head.split(b"\n")[1].split())
        data = read(width * height)
        if len(data) < width * height:
            return
        yield np.frombuffer(data, np.uint8).reshape(height, width)


@dataclass
class House:
    """What runs, and where it keeps its things."""

    root: Path
    config: Config
    scene: Scene
    source: rtsp_server.Server
    watcher: Watcher
    supervision: Supervision
    said: list[str] = field(default_factory=list)

    @property
    def camera_pid(self) -> int:
        return self.supervision.pids()[f"camera {NAME}"]

    @property
    def server_pid(self) -> int:
        return self.supervision.pids()["rtsp"]

    def signal_camera(self, number: signal.Signals) -> None:
        os.kill(self.camera_pid, number)

    def wait_for(self, condition: Callable[[], bool], what: str, within_s: float = 40.0) -> None:
        """Lets the supervision work until `condition` holds."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {within_s:g} s: {what}\n{self.log_text()[-3000:]}"
            )
            self.supervision.step(0.05)

    def run_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervision.step(0.05)

    def log_text(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.root.glob("out/*.txt")))


def _wrapped(service: Service, root: Path) -> Service:
    """In a folder of its own, where cores may be written as far as the shell is concerned, with its output
    kept."""
    out = root / "out" / f"{service.name.replace(' ', '-')}.txt"
    script = f'cd "{root}/cwd" && ulimit -c unlimited; exec "$@" >>"{out}" 2>&1'
    environ = {**service.environ, "TMPDIR": str(root / "tmp")}
    command = ["/bin/sh", "-c", script, "sh", *service.command]
    return Service(service.name, command, notifies=service.notifies, environ=environ)


def write_config(root: Path, address: str, port: int) -> Path:
    secret = root / "secret"
    secret.mkdir()
    (secret / "camera.password").write_text(PASSWORD + "\n")
    (secret / "camera.password").chmod(0o600)
    path = root / "veil.toml"
    path.write_text(
        f"""
[box]
state_dir = "{root}/state"
runtime_dir = "{root}/run"
[rtsp]
address = "127.0.0.1"
port = {port}
[capture]
user = "{USER}"
password_file = "{secret}/camera.password"
reconnect_min_s = 0.1
reconnect_max_s = 0.5
stall_timeout_s = 2.0
[recorder]
segment_s = 2.0
fragment_s = 0.5
min_free_mib = 1.0
[preview]
interval_s = 0.3
[detector]
stuck_after_s = 2.0
[camera.{NAME}]
source = "{address}"
"""
    )
    return path


@contextmanager
def house(root: Path) -> Iterator[House]:
    """Runs it until the block is left; nothing outlives it."""
    for name in ("cwd", "tmp", "out", "run", "state"):
        (root / name).mkdir()
    scene = Scene(WIDTH, HEIGHT)
    clip = scene_clip(scene, frames=PICTURES, rate=RATE)
    port = free_port()
    with ExitStack() as scope:
        source = scope.enter_context(rtsp_server.serve(clip, user=USER, password=PASSWORD, auth="digest"))
        path = write_config(root, source.address, port)
        config = load_config(path, {})
        package_parent = str(Path(veil.__file__).resolve().parent.parent)
        command = [sys.executable, "-m", "privacy.oracle_camera", str(path), NAME]
        camera = Service(
            f"camera {NAME}",
            command,
            notifies=True,
            environ={"PYTHONPATH": os.pathsep.join((package_parent, str(_TESTS)))},
        )
        said: list[str] = []
        services = [_wrapped(rtsp_service(config), root), _wrapped(camera, root)]
        supervision = scope.enter_context(Supervision(services, said.append))
        watcher = scope.enter_context(Watcher(f"rtsp://127.0.0.1:{port}/{NAME}"))
        yield House(root, config, scene, source, watcher, supervision, said)
