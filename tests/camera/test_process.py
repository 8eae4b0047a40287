"""`veil camera NAME` as it is started on a box: a real source, the shipped detector, a real viewer."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

import rtsp_server
import veil
from media import Clip
from privacy.house import free_port
from veil.config import Config
from veil.config_load import load_config
from veil.errors import LogError
from veil.up import rtsp_service

pytestmark = [
    pytest.mark.skipif(not rtsp_server.is_available(), reason="needs gst-rtsp-server"),
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg"),
]

_CLIP = Clip(frames=60, rate=15, keyframe_interval=15)
_PACKAGES = str(Path(veil.__file__).resolve().parent.parent)


@dataclass
class Box:
    """A source, the RTSP server and a configuration; camera processes are started by the test."""

    path: Path
    config: Config

    @contextmanager
    def camera(self) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "veil.cli", "camera", "front", "--config", str(self.path)]
        environ = os.environ | {"PYTHONPATH": _PACKAGES, "PYTHONFAULTHANDLER": "1"}
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def seen_pictures(self) -> int:
        """How many pictures a viewer gets, of five."""
        url = f"rtsp://127.0.0.1:{self.config.rtsp.port}/front"
        asked = [
            "ffmpeg",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-i",
            url,
            "-frames:v",
            "5",
            "-f",
            "framemd5",
            "-",
        ]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
        return sum(not line.startswith("#") for line in done.stdout.splitlines())

    @property
    def recordings(self) -> Path:
        return self.config.recordings("front")

    def events(self) -> list[dict[str, object]]:
        log = self.config.box.state_dir / "log" / "front" / "events.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()]


def until(condition: object, what: str, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    path = tmp_path / "veil.toml"
    (tmp_path / "run").mkdir()
    with rtsp_server.serve(_CLIP) as source:
        path.write_text(
            f"""
[box]
state_dir = "{tmp_path}/state"
runtime_dir = "{tmp_path}/run"
[rtsp]
address = "127.0.0.1"
port = {free_port()}
[recorder]
min_free_mib = 1.0
[camera.front]
source = "{source.address}"
"""
        )
        config = load_config(path, {})
        service = rtsp_service(config)
        environ = {"PATH": os.environ["PATH"], **service.environ}
        with subprocess.Popen(service.command, env=environ) as server:
            try:
                yield Box(path, config)
            finally:
                server.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_end_the_last_recording_is_whole_and_the_log_says_so(
    box: Box, number: signal.Signals
) -> None:
    with box.camera() as process:
        until(lambda: list(box.recordings.glob("*.part")), "a recording")
        if number is signal.SIGTERM:
            until(lambda: box.seen_pictures() == 5, "pictures at a viewer")
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    recordings = [path for path in box.recordings.rglob("*") if path.is_file()]
    # The slate before the first picture may have another size, and a recording of its own.
    assert {path.suffix for path in recordings} == {".mp4"}
    for recording in recordings:
        with av.open(str(recording)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 0
    [stopped] = [event["data"] for event in box.events() if event["kind"] == "camera_stopped"]
    assert box.events()[-1]["kind"] == "camera_stopped"
    assert stopped == {"reason": "asked"}
    kinds = [event["kind"] for event in box.events()]
    assert kinds.count("segment_closed") == len(recordings)


def test_a_second_start_is_one_clear_error_and_disturbs_nothing(box: Box) -> None:
    with box.camera() as first:
        until(lambda: list(box.recordings.glob("*.part")), "a recording")
        with box.camera() as second:
            _, said = second.communicate(timeout=60)
        assert second.returncode == LogError.exit_code
        assert "Traceback" not in said
        assert len(said.splitlines()) == 2, said
        assert first.poll() is None
        until(lambda: box.seen_pictures() == 5, "pictures at a viewer")
        first.send_signal(signal.SIGTERM)
        first.wait(60)
    assert first.returncode == 0
    assert [event["kind"] for event in box.events()].count("camera_started") == 1
