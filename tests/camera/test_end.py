"""How a camera ends: its state file tells of the whole run, its log why."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import veil
from media import Clip, write_clip
from veil.audit.event import Event
from veil.camera import _Ending, _Reporter
from veil.errors import ConfigError
from veil.host.sdnotify import Supervisor
from veil.restart import RestartRequest
from veil.stats import CameraStats


def test_what_happened_after_the_last_second_is_in_the_last_state(tmp_path: Path) -> None:
    path, stats = tmp_path / "state.json", CameraStats()
    with _Reporter(path, stats, Supervisor(), lambda: True, lambda: None):
        stats.dropped("late")
    assert json.loads(path.read_text())["dropped"] == {"late": 1}


def test_a_camera_that_cannot_be_set_up_says_so_in_its_last_line(tmp_path: Path) -> None:
    log: list[Event] = []
    with pytest.raises(ConfigError), _Ending(RestartRequest(tmp_path / "restart"), log):
        raise ConfigError("no such encoder")
    assert [(event.kind, event.data) for event in log] == [("camera_stopped", {"reason": "ConfigError"})]


def _camera(root: Path, source: str) -> subprocess.Popen[str]:
    """`veil camera front` without recordings and streams."""
    path = root / "veil.toml"
    path.write_text(
        f"[box]\nstate_dir = '{root}/state'\nruntime_dir = '{root}/run'\n"
        "[rtsp]\nenabled = false\n[recorder]\nenabled = false\n"
        "[capture]\nreconnect_min_s = 0.05\nreconnect_max_s = 0.1\n"
        f"[camera.front]\nsource = '{source}'\n"
    )
    command = [sys.executable, "-m", "veil.cli", "camera", "front", "--config", str(path)]
    environ = os.environ | {"PYTHONPATH": str(Path(veil.__file__).resolve().parent.parent)}
    return subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


def _events(root: Path) -> list[dict[str, Any]]:
    log = root / "state" / "log" / "front" / "events.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_file_in_place_of_a_camera_ends_and_was_not_asked_to(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", Clip(frames=5, rate=25))
    with _camera(tmp_path, str(clip)) as process:
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    last = _events(tmp_path)[-1]
    assert (last["kind"], last["data"]) == ("camera_stopped", {"reason": "ended"})


def test_a_camera_that_is_away_says_why_once_and_no_secret(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
        source = f"rtsp://operator7:s3cr3t@{where}/user=operator7&password=s3cr3t&channel=1?token=s3cr3t"
        with _camera(tmp_path, source) as process:
            deadline = time.monotonic() + 120
            while sum(event["kind"] == "source_lost" for event in _events(tmp_path)) < 4:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
            time.sleep(2.2)
            state = json.loads((tmp_path / "run" / "cameras" / "front" / "state.json").read_text())
            process.terminate()
            _, said = process.communicate(timeout=60)
    address = f"rtsp://{where}/user=***&password=***&channel=1"
    told = [line for line in said.splitlines() if "stands in the source" not in line]
    assert told == [
        f"veil: camera front: {address} refuses the connection.",
        "      Check address and port.",
    ]
    assert state["fault"] == f"{address} refuses the connection."
    everything = said + json.dumps(state) + json.dumps(_events(tmp_path))
    assert not re.search("operator7|s3cr3t", everything)
    assert _events(tmp_path)[-1]["data"] == {"reason": "asked"}
