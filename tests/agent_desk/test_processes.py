"""Whole processes under the supervision of `veil up`: restart by request, and a wall clock that is set."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rtsp_server
import veil
from agent_desk.house import events as events_of
from oracle import PICTURES, Scene, scene_clip
from veil.audit.verify import verify
from veil.config_load import load_config
from veil.places import CameraPlaces
from veil.restart import RestartRequest, request_restart
from veil.supervise import Service, Supervision

NAME = "front"
_TESTS = Path(__file__).resolve().parents[1]
_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass
class House:
    """A camera and perhaps an agent, supervised."""

    root: Path
    supervision: Supervision

    def __post_init__(self) -> None:
        self.config = load_config(self.root / "veil.toml", {})
        self.places = CameraPlaces.of(self.config, NAME)

    def events(self, log: str, kind: str) -> list[dict[str, Any]]:
        path = self.root / "state" / "log" / log / "events.jsonl"
        return events_of(path, kind) if path.exists() else []

    def wait_for(self, condition: Callable[[], bool], what: str, within_s: float = 40.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            said = (self.root / "said.txt").read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}\n{said}"
            self.supervision.step(0.05)


@contextmanager
def house(root: Path, prefix: list[str], environ: dict[str, str], *programs: str) -> Iterator[House]:
    """Runs until the block is left. `prefix`: of the arguments to Python; `programs`: `camera`, `agent`."""
    path = root / "veil.toml"
    (root / "said.txt").touch()
    clip = scene_clip(Scene(320, 180), frames=PICTURES, rate=20)
    with ExitStack() as scope:
        source = scope.enter_context(rtsp_server.serve(clip))
        path.write_text(
            f"""
[box]
state_dir = "{root}/state"
runtime_dir = "{root}/run"
[rtsp]
enabled = false
[capture]
reconnect_min_s = 0.1
reconnect_max_s = 0.5
[recorder]
segment_s = 1.0
fragment_s = 0.5
min_free_mib = 1.0
[encoder]
keyframe_interval_s = 0.5
[preview]
interval_s = 0.3
[camera.{NAME}]
source = "{source.address}"
"""
        )
        modules = {
            "camera": ["privacy.oracle_camera", str(path), NAME],
            "agent": ["veil.cli", "agent", "--config", str(path)],
        }
        parent = str(Path(veil.__file__).resolve().parent.parent)
        environ = {"PYTHONPATH": os.pathsep.join((parent, str(_TESTS), *sys.path)), **environ}
        script = f'exec "$@" >>"{root}/said.txt" 2>&1'
        services = [
            Service(
                program,
                ["/bin/sh", "-c", script, "sh", sys.executable, *prefix, *modules[program]],
                notifies=True,
                environ=environ,
            )
            for program in programs
        ]
        yield House(root, scope.enter_context(Supervision(services, lambda _: None)))


def test_a_camera_that_is_asked_to_restart_ends_cleanly_and_comes_back(tmp_path: Path) -> None:
    with house(tmp_path, ["-m"], {}, "camera") as house_:
        request_restart(house_.places.restart)
        house_.wait_for(lambda: len(house_.events(NAME, "segment_closed")) >= 1, "a first segment")
        # What was asked before its start is void.
        assert not house_.places.restart.exists()
        assert house_.supervision.restarts() == {"camera": 0}

        asked = time.monotonic()
        request_restart(house_.places.restart)
        house_.wait_for(lambda: house_.supervision.restarts()["camera"] == 1, "the end")
        ended_s = time.monotonic() - asked
        house_.wait_for(lambda: len(house_.events(NAME, "source_connected")) == 2, "the camera again")
        assert not house_.places.restart.exists()
        assert [event["reason"] for event in house_.events(NAME, "camera_stopped")] == ["restart"]
        assert ended_s < 10


def _injected(root: Path) -> tuple[list[str], dict[str, str]]:
    return ["-m", "agent_desk.stepped", str(root / "offset")], {}


def _libfaketime(root: Path) -> tuple[list[str], dict[str, str]]:
    if "VEIL_FAULTS" not in os.environ:
        pytest.skip("part of the long tests (make faults)")
    if not _FAKETIME.exists():
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    return ["-m"], {
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(root / "offset"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


@pytest.mark.parametrize("how", [_injected, _libfaketime])
def test_a_clock_that_is_set_is_an_event_and_nothing_restarts(
    how: Callable[[Path], tuple[list[str], dict[str, str]]], tmp_path: Path
) -> None:
    prefix, environ = how(tmp_path)
    to_1970 = -int(time.time()) + 3600
    offset = tmp_path / "offset"

    def set_to(seconds: int) -> None:
        part = tmp_path / "offset.part"
        part.write_text(f"{seconds:+d}")
        part.replace(offset)

    set_to(to_1970)
    with house(tmp_path, prefix, environ, "camera", "agent") as house_:

        def segments() -> int:
            return len(house_.events(NAME, "segment_closed"))

        house_.wait_for(lambda: segments() >= 2, "segments in 1970")
        house_.wait_for(lambda: bool(house_.events("box", "agent_started")), "the agent")
        pids = house_.supervision.pids()
        steps = [0, 3600, 0]
        for number, seconds in enumerate(steps):
            before = segments()
            set_to(seconds)
            house_.wait_for(
                lambda number=number: len(house_.events("box", "clock_stepped")) > number, "the event"
            )
            house_.wait_for(lambda before=before: segments() >= before + 2, "segments go on")
        assert house_.supervision.pids() == pids
        assert set(house_.supervision.restarts().values()) == {0}
    told = [round(event["ms"] / 1000) for event in house_.events("box", "clock_stepped")]
    wanted = [after - before for before, after in zip([to_1970, *steps], steps, strict=False)]
    assert told == [pytest.approx(step, abs=1) for step in wanted]
    report = verify(tmp_path / "state" / "log")
    assert not report.findings, report.findings


def test_a_request_is_seen_once(tmp_path: Path) -> None:
    path = tmp_path / "restart"
    request_restart(path)
    request = RestartRequest(path)
    assert not request.is_there()
    request_restart(path)
    assert request.is_there()
    assert not request.is_there()
    request_restart(path)
    assert request.is_there()


def test_a_request_that_cannot_be_removed_does_not_restart_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "restart"
    path.mkdir()
    (path / "full").touch()
    request = RestartRequest(path)
    assert not request.is_there()
    os.utime(path, ns=(1, 1))
    assert request.is_there()
    assert not request.is_there()
    assert not RestartRequest(path).is_there()
