"""A real veil-rtsp process and real camera processes for tests, on loopback with free ports."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import veil
from masked_media import Camera
from veil.config import EncoderConfig
from veil.domain.clock import SystemClock
from veil.encode.packet import StreamInfo
from veil.encode.slate import Slate, encode_slate
from veil.mask.masker import SlateMaker
from veil.rtsp_server.wire import Kind, MessageReader, message
from veil.sinks.rtsp import RtspSink

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = Path(veil.__file__).parent.parent
TESTS = Path(__file__).parent
CONFIG = EncoderConfig(preset="ultrafast", bit_rate=400_000, keyframe_interval_s=2.0)


def gi_is_missing() -> bool:
    """Whether the distribution's Python lacks gst-rtsp-server."""
    code = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode != 0
    except FileNotFoundError:
        return True


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 10.0) -> None:
    """Fails the test when `condition` does not come true."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s:g} s for {what}"
        time.sleep(0.02)


class Server:
    """A veil-rtsp process. `restart` keeps the port."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "rtsp.sock"
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGTERM)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                SYSTEM_PYTHON,
                "-m",
                "veil.rtsp_server",
                "--socket",
                str(self.socket),
                "--address",
                "127.0.0.1",
                "--port",
                str(self.port),
            ],
            env={"PYTHONPATH": str(PACKAGES), "PATH": os.environ["PATH"], "GST_DEBUG": "1"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the RTSP server did not start"
        self.port = json.loads(line)["port"]

    def stop(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        code = process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
        return code

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, camera: str = "front") -> str:
        return f"rtsp://127.0.0.1:{self.port}/{camera}"

    def stats(self) -> dict[str, Any]:
        """The server's counts."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(5)
            asked.connect(str(self.socket))
            asked.sendall(message(Kind.STATS))
            reader = MessageReader()
            while True:
                for kind, payload in reader.feed(asked.recv(65536)):
                    assert kind is Kind.STATS
                    found: dict[str, Any] = json.loads(payload)
                    return found

    def state(self, camera: str = "front") -> str:
        return str(self.stats()["cameras"][camera]["state"])


def slates_of(camera: Camera, name: str) -> Callable[[StreamInfo], Slate]:
    """What a camera process gives its sink."""
    maker = SlateMaker(camera.width, camera.height, (name, "no safe picture"))
    return lambda stream: encode_slate(
        CONFIG, maker.slate, stream, frame_rate=camera.frame_rate, clock=SystemClock()
    )


def stream(
    socket_path: Path,
    done: Callable[[], bool],
    *,
    name: str = "front",
    camera: Camera | None = None,
    config: EncoderConfig = CONFIG,
) -> None:
    """A camera in real time until `done`."""
    camera = camera or Camera()
    with camera.encoder(config) as encoder:
        sink = RtspSink(
            socket_path, name, slates=slates_of(camera, name), on_keyframe_request=encoder.request_keyframe
        )
        began = time.monotonic()
        with sink:
            for index in range(1_000_000):
                if done():
                    return
                with camera.frame() as frame:
                    for packet in encoder.encode(frame):
                        sink.publish(packet)
                time.sleep(max(0.0, began + (index + 1) / camera.frame_rate - time.monotonic()))


class Streaming:
    """`stream` in a thread."""

    def __init__(self, server: Server, **options: Any) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=stream, args=(server.socket, self._done.is_set), kwargs=options, daemon=True
        )
        self._server = server
        self._name = options.get("name", "front")

    def __enter__(self) -> Streaming:
        self._thread.start()
        wait_for(
            lambda: self._server.stats()["cameras"].get(self._name, {}).get("state") == "live",
            "a live camera",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(10)


class CameraProcess:
    """`stream` in a process of its own, to be stopped and killed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> CameraProcess:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self._server.socket)],
            env=os.environ | {"PYTHONPATH": f"{PACKAGES}:{TESTS}"},
            start_new_session=True,
        )
        wait_for(
            lambda: self._server.stats()["cameras"].get("front", {}).get("state") == "live", "a live camera"
        )
        return self

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait(10)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGKILL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    stream(parser.parse_args().socket, lambda: False)
