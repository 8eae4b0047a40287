"""A camera's condition as seen from outside is true, within ten seconds, whatever its process does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet_house import wait_for
from veil.agent.camera_watch import SILENT_S, STARTING_S, CameraWatch, is_written
from veil.agent.health import SOONEST_S, HealthWatch
from veil.audit.log import EventLog
from veil.config_load import load_config
from veil.domain.clock import NANOSECONDS, SystemClock
from veil.messages.health import CameraCondition, Health
from veil.places import CameraPlaces
from veil.state_file import write_state
from veil.stats import CameraStats


@dataclass
class HandClock:
    """Monotonic time by hand, from now on."""

    ahead_s: float = 0.0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + int(self.ahead_s * NANOSECONDS)

    def wall_ns(self) -> int:
        return time.time_ns()


@pytest.fixture
def places(tmp_path: Path) -> CameraPlaces:
    config = load_config(None, {"VEIL_BOX__STATE_DIR": str(tmp_path), "VEIL_BOX__RUNTIME_DIR": str(tmp_path)})
    found = CameraPlaces.of(config, "front")
    found.state.parent.mkdir(parents=True)
    return found


def watch(places: CameraPlaces, clock: HandClock) -> CameraWatch:
    return CameraWatch(places.state, places.log, clock)


def running(stats: CameraStats) -> CameraStats:
    stats.connection(connected=True)
    for _ in range(40):
        stats.captured(time.monotonic_ns())
        stats.detected({"face": 1}, 3_000_000)
        stats.emitted(time.monotonic_ns(), masks=2, latency_ns=40_000_000)
    return stats


HOLDER = """
import sys, time
from pathlib import Path
from veil.audit.log import EventLog
from veil.domain.clock import SystemClock
from veil.state_file import write_state
from veil.stats import CameraStats
stats = CameraStats()
stats.connection(connected=True)
stats.captured(time.monotonic_ns())
stats.emitted(time.monotonic_ns(), masks=1, latency_ns=1000)
with EventLog(Path(sys.argv[1]), "front", SystemClock(), reserve_bytes=0):
    print("there", flush=True)
    while True:
        write_state(Path(sys.argv[2]), stats, moving=True)
        time.sleep(1)
"""


@contextmanager
def camera_process(places: CameraPlaces) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the log and writes its state as a camera does."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(places.log), str(places.state)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "there\n"
        yield child
    finally:
        child.kill()
        child.wait(10)


def test_a_process_is_followed_through_its_life(places: CameraPlaces) -> None:
    clock = HandClock()
    seen = watch(places, clock)
    assert seen.look().condition is CameraCondition.STOPPED
    with camera_process(places) as child:
        assert is_written(places.log)
        wait_for(lambda: seen.look().condition is CameraCondition.RUNNING, "running")
        child.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        clock.ahead_s = SILENT_S - 2.5
        assert seen.look().condition is CameraCondition.RUNNING
        clock.ahead_s = SILENT_S
        assert seen.look().condition is CameraCondition.HUNG
        child.send_signal(signal.SIGCONT)
        clock.ahead_s = 0
        wait_for(lambda: seen.look().condition is CameraCondition.RUNNING, "running again")
    gone = seen.look()
    assert gone.condition is CameraCondition.STOPPED
    assert (gone.connected, gone.fps_in, gone.fps_out) == (False, 0.0, 0.0)


def test_a_process_that_says_nothing_at_first_starts_and_then_hangs(
    places: CameraPlaces, tmp_path: Path
) -> None:
    with camera_process(places):
        clock = HandClock()
        seen = CameraWatch(tmp_path / "no state", places.log, clock)
        assert seen.look().condition is CameraCondition.SLATE
        clock.ahead_s = STARTING_S + 1
        assert seen.look().condition is CameraCondition.HUNG


def test_the_state_of_a_process_before_is_not_this_one_s(places: CameraPlaces) -> None:
    with camera_process(places):
        seen = watch(places, HandClock())
        wait_for(lambda: seen.look().condition is CameraCondition.RUNNING, "running")
        said = json.loads(places.state.read_text())
    with EventLog(places.log, "front", SystemClock(), reserve_bytes=0):
        places.state.write_text(json.dumps(said | {"written_ns": time.monotonic_ns()}))
        assert seen.look().condition is CameraCondition.SLATE


def say(places: CameraPlaces, stats: CameraStats, *, moving: bool = True) -> None:
    """Writes what a camera's process writes, as this process."""
    write_state(places.state, stats, moving=moving)


@pytest.fixture
def held(places: CameraPlaces) -> Iterator[None]:
    """Its log is open for writing."""
    with EventLog(places.log, "front", SystemClock(), reserve_bytes=0):
        yield


@pytest.mark.usefixtures("held")
def test_numbers_are_those_of_the_process(places: CameraPlaces) -> None:
    stats = running(CameraStats())
    stats.dropped("detector_slow")
    stats.hidden()
    stats.slate()
    stats.emitted(time.monotonic_ns(), masks=0, latency_ns=50_000_000)
    stats.picture("covered")
    say(places, stats)
    health = watch(places, HandClock()).look()
    assert (health.condition, health.picture, health.connected) == (CameraCondition.RUNNING, "covered", True)
    assert (health.frames_in, health.frames_out, health.masks) == (40, 41, 80)
    assert (health.whole_frames, health.slates, health.dropped) == (1, 1, {"detector_slow": 1})
    assert (health.latency_p50_ms, health.latency_p99_ms, health.detector_p50_ms) == (40.0, 50.0, 3.0)
    assert health.fps_in > 0
    assert health.last_frame_age_s is not None
    assert health.last_frame_age_s < 10


@pytest.mark.usefixtures("held")
def test_slates_and_a_lost_source_are_a_slate(places: CameraPlaces) -> None:
    for break_it in (lambda s: s.slate(), lambda s: s.connection(connected=False)):
        stats = running(CameraStats())
        break_it(stats)
        say(places, stats)
        health = watch(places, HandClock()).look()
        assert (health.condition, health.fps_out) == (CameraCondition.SLATE, 0.0)


@pytest.mark.usefixtures("held")
def test_output_that_does_not_move_hangs(places: CameraPlaces) -> None:
    say(places, running(CameraStats()), moving=False)
    assert watch(places, HandClock()).look().condition is CameraCondition.HUNG


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"pid": "x"}', b"\xff" * 100, b"[" * 100_000, b'{"fps_in": 1e999}', b"NaN"],
)
def test_a_damaged_state_file_is_no_state(places: CameraPlaces, content: bytes) -> None:
    places.state.write_bytes(content)
    assert watch(places, HandClock()).look().condition is CameraCondition.SLATE


def test_a_change_is_told_at_once_and_health_soon(tmp_path: Path) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(
        f'[box]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}/run"\n'
        '[camera.front]\nsource = "/dev/video9"\n[camera.back]\nsource = "/dev/video8"\n'
    )
    config = load_config(path, {})
    health = HealthWatch(config, HandClock())
    assert health.is_due(100.0)
    assert {state.camera for state in health.look(100.0)} == {"front", "back"}
    told = Health.decode(health.health(100.0, 7, 8).encode())
    assert (told.box.queue_events, told.box.queue_bytes) == (7, 8)
    assert told.cameras["front"].condition is CameraCondition.STOPPED
    assert health.look(101.0) == []
    assert not health.is_due(100.0 + config.agent.health_every_s - 1)
    assert health.is_due(100.0 + config.agent.health_every_s)
    with camera_process(CameraPlaces.of(config, "front")):
        (changed,) = health.look(103.0)
        assert (changed.camera, changed.connected) == ("front", changed.condition is CameraCondition.RUNNING)
        assert not health.is_due(100.0 + SOONEST_S - 1)
        assert health.is_due(100.0 + SOONEST_S)
