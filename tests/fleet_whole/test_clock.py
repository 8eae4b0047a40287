"""A box whose wall clock is set while it works: nothing restarts, and what its fleet manager sees stays true.

libfaketime sets the clock of the box's processes alone, TLS included; the fleet manager's stays right.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import box_clock
import rtsp_server
from box_clock import BoxClock
from fleet_house import MISSING, mosquitto_is_missing, wait_for
from oracle import PICTURES, Scene, scene_clip
from veil_fleet.store.queries import Liveness
from whole_house import VEIL, Box, WholeHouse, run_any

pytestmark = [
    pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING),
    pytest.mark.skipif(not rtsp_server.is_available(), reason="needs gst-rtsp-server"),
    pytest.mark.skipif(os.environ.get("VEIL_STATUS") != "full", reason="VEIL_STATUS=full: minutes"),
    pytest.mark.skipif(box_clock.LIBRARY is None, reason=box_clock.MISSING),
]

NAME, CAMERA = "box-1", "front"
_SECTIONS = """
[recorder]
segment_s = 2.0
min_free_mib = 1.0
"""


@pytest.fixture
def clock(tmp_path: Path) -> BoxClock:
    return BoxClock(tmp_path)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WholeHouse]:
    with ExitStack() as scope:
        made = scope.enter_context(WholeHouse(tmp_path))
        made.manager.start()
        yield made


def _pids(box: Box) -> dict[str, int | None]:
    return {name: program.process.pid if program.process else None for name, program in box.programs.items()}


def _steps_told(house: WholeHouse) -> int:
    return sum('"clock_stepped"' in line for line in house.lines(NAME, "box"))


def test_a_clock_set_from_1970_and_by_an_hour_leaves_the_box_seen_and_its_evidence_whole(
    house: WholeHouse, clock: BoxClock
) -> None:
    clip = scene_clip(Scene(320, 180), frames=PICTURES, rate=5)
    clock.set(3600 - int(time.time()))
    with rtsp_server.serve(clip) as source:
        box = house.enroll(NAME, cameras={CAMERA: source.address}, sections=_SECTIONS, environ=clock.environ)
        box.start()
        wait_for(lambda: bool(box.events(CAMERA, "segment_closed")), "a segment in 1970", 60)
        wait_for(lambda: bool(box.events("box", "agent_started")), "the agent", 30)
        assert box.events(CAMERA, "segment_closed")[0]["time"].startswith("1970-")
        # No certificate holds in 1970: it cannot be there, and nobody says that it is.
        assert house.liveness(NAME) is Liveness.NEVER
        pids = _pids(box)

        steps = (0, 3600, 0, -3600, 0)
        for number, off_s in enumerate(steps, 1):
            clock.set(off_s)
            wait_for(lambda number=number: _steps_told(house) >= number, f"step {number} told", 60)  # type: ignore[misc]
            since_ms = time.time_ns() // 1_000_000
            wait_for(lambda since_ms=since_ms: house.heard_ms(NAME) > since_ms, "a status after it", 45)  # type: ignore[misc]
            assert house.liveness(NAME) is Liveness.ONLINE
            assert house.condition(NAME, CAMERA) == "running"
            _check_command(house, off_s)
        assert _pids(box) == pids
        assert all(program.runs for program in box.programs.values())

        told = [round(event["data"]["ms"] / 1000) for event in box.events("box", "clock_stepped")]
        assert len(told) == len(steps)
        assert told[1:] == [pytest.approx(b - a, abs=2) for a, b in itertools.pairwise(steps)]
        house.wait_cosigned_except_new(box)
        for log in ("box", CAMERA):
            stored = house.lines(NAME, log)
            assert [f'"seq":{number},' in line for number, line in enumerate(stored)] == [True] * len(stored)
        assert house.alarms() == []
        for program in reversed(box.programs.values()):
            program.stop()
    verified = run_any([*VEIL, "log", "verify", "--complete", str(box.log)])
    assert verified.returncode == 0, verified.stdout


def _check_command(house: WholeHouse, off_s: int) -> None:
    """With a clock that is right, commands are taken; with one that is off by an hour they are refused, and
    it is said why."""
    done = house.command(NAME, "ping")
    if off_s == 0:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 11, done.stdout + done.stderr
        assert "clock" in done.stderr, done.stderr
