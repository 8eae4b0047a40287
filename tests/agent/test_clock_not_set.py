"""A box whose clock was never set: it says so, keeps what it has, and connects by itself afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import box_clock
from agent.house import AgentProcess, Listener, fill, log_of, write_config
from box_clock import BoxClock
from fleet_house import Broker, wait_for

pytestmark = pytest.mark.skipif(box_clock.LIBRARY is None, reason=box_clock.MISSING)

_DOCTOR = """
import os, sys
from pathlib import Path
from veil.config_load import load_config
from veil.doctor.fleet import check_fleet
from veil.doctor.machine import check_clock
config = load_config(Path(sys.argv[1]), {})
for finding in (*check_clock(config, {}), *check_fleet(config, {})):
    print(finding.level, finding.name, finding.what, finding.todo)
"""


def examined(config: Path, clock: BoxClock) -> list[str]:
    """What `veil doctor` says of clock and fleet, on the box's own clock."""
    ran = subprocess.run(
        [sys.executable, "-c", _DOCTOR, str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **clock.environ},
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_a_box_of_1970_says_why_and_connects_by_itself_once_its_clock_is_set(
    broker: Broker, tmp_path: Path
) -> None:
    clock = BoxClock(tmp_path)
    clock.set(3600 - int(time.time()))
    folder = tmp_path / "box"
    config = write_config(folder, broker, cameras="front")
    process = AgentProcess(config, clock.environ)
    with Listener(broker, witness=True) as fleet, process, log_of(folder / "state", "front") as log:
        told = "is not valid yet by this box's clock, which says 1970-01-01"
        wait_for(lambda: told in process.said.read_text(), "the reason in the journal", 30)
        assert "timedatectl set-ntp true" in process.said.read_text()
        fill(log, 5)
        findings = examined(config, clock)
        assert [line.split()[:2] for line in findings] == [
            ["fail", "clock"],
            ["fail", "fleet"],
            ["fail", "fleet"],
        ]
        assert "it was not set" in findings[0]
        assert "keeps its events" in findings[1]
        assert told in findings[2]
        assert fleet.heard == []

        clock.set(0)
        fleet.wait_status("online", limit_s=60)
        fleet.wait_cosigned("front", 5, limit_s=60)
        assert process.running
        assert [line.split()[:3] for line in examined(config, clock)[1:]] == [
            ["ok", "fleet", "the"],
            ["ok", "fleet", "the"],
        ]
