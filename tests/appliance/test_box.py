"""A Debian 12 of its own, Veil installed by its page, the kernel's vivid driver as camera (`make vm`).

The tests go on from each other, in their order, on one machine: the life of a box.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.box import CAMERA, UNITS, VEIL, Box
from appliance.machine import Machine

IMAGE = os.environ.get("VEIL_VM", "")
UNIT = f"veil-camera@{CAMERA}"
RECORDINGS = f"/var/lib/veil/recordings/{CAMERA}"
# systemd's own scale: below 2 is its "OK", 10 a service with nothing switched off.
MOST_EXPOSED = 2.0

pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="VEIL_VM is not set: make vm"),
    pytest.mark.timeout(0),
]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with Machine(Path(IMAGE), tmp_path_factory.mktemp("vm")) as machine:
        yield Box(machine)


def frames(box: Box) -> int:
    return int(box.state().get("frames_out", 0))


def wait_for_new_frames(box: Box, count: int = 3, seconds: float = 600) -> None:
    before = frames(box)
    box.machine.until(lambda: frames(box) >= before + count, "masked frames", seconds)


def wait_for_another_process(box: Box, old: str) -> None:
    """systemd has started the camera again, and frames leave it."""
    box.machine.until(lambda: box.show(UNIT, "MainPID") not in ("0", old), "another process", 300)
    box.machine.until(lambda: box.show(UNIT, "ActiveState") == "active", "an active unit", 900)
    box.machine.until(lambda: frames(box) >= 3, "masked frames", 600)


def test_each_format_of_the_driver_is_read(box: Box) -> None:
    box.plug_in()
    said = box.machine.ask(
        "cd /root/veil && /opt/veil/bin/python -m pytest -q -p no:cacheprovider --timeout=0 "
        "tests/capture/test_v4l2.py -k vivid",
        timeout_s=1800,
    )
    assert "skipped" not in said, said
    assert re.search(r"\d+ passed", said), said


def test_the_page_installs_it(box: Box) -> None:
    box.install()
    owners = box.modes("/etc/veil /var/lib/veil")
    assert owners["root:root 700"] == 1, owners
    assert not [line for line in owners if line[-1] != "0"], "others may read something"


def test_doctor_finds_nothing_that_fails(box: Box) -> None:
    # The bundle's self-test needs the size that it was trained for.
    environ = "COLUMNS=200 VEIL_DETECTOR__INPUT_WIDTH=640 VEIL_DETECTOR__INPUT_HEIGHT=384"
    said = box.machine.run(f"{environ} {VEIL} doctor --config /etc/veil/veil.toml", timeout_s=900)
    assert said.returncode == 0, said.stdout
    assert "320x180" in said.stdout


def test_the_command_ends_with_term(box: Box) -> None:
    """`veil camera` as in the README, without systemd."""
    folders = "VEIL_BOX__STATE_DIR=/tmp/state VEIL_BOX__RUNTIME_DIR=/tmp/run"
    command = f"{folders} timeout -s TERM 90 {VEIL} camera {CAMERA} --config /etc/veil/veil.toml"
    done = box.machine.run(f"{command}; echo ended with $?", timeout_s=900)
    # 124 is timeout's own: the process ended when it was asked to.
    assert "ended with 124" in done.stdout, done.stdout
    kinds = box.machine.ask(f'grep -o \'"kind":"[a-z_]*"\' /tmp/state/log/{CAMERA}/events.jsonl')
    assert "source_connected" in kinds
    assert kinds.endswith('"kind":"camera_stopped"')
    box.machine.ask("rm -r /tmp/state /tmp/run")


def test_services_start_as_their_own_users(box: Box) -> None:
    box.enable()
    for unit, user in zip(UNITS, ("veil-rtsp", "veil-agent", "veil-camera"), strict=True):
        assert box.show(unit, "ActiveState") == "active", box.journal(unit)
        pid = box.show(unit, "MainPID")
        assert box.machine.ask(f"ps -o user:20= -p {pid}").strip() == user
    wait_for_new_frames(box)
    assert box.show(UNIT, "NRestarts") == "0", box.journal(UNIT)


def test_a_viewer_outside_sees_the_stream(box: Box) -> None:
    url = f"rtsp://127.0.0.1:{box.machine.rtsp_port}/{CAMERA}"
    command = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_streams", "-of", "json", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    streams = json.loads(done.stdout or "{}").get("streams", [])
    assert [(s["codec_name"], s["width"], s["height"]) for s in streams] == [("h264", 320, 180)], done.stderr


def test_a_camera_pulled_out_and_put_back_is_read_again(box: Box) -> None:
    lost, pid = len(box.events("source_lost")), box.show(UNIT, "MainPID")
    box.pull_out()
    box.machine.until(lambda: len(box.events("source_lost")) > lost, "the loss in the log")
    box.machine.until(lambda: bool(box.state()["slating"]), "the slate")
    box.put_back()
    box.machine.until(lambda: not box.state()["slating"], "masked frames instead of the slate")
    wait_for_new_frames(box)
    assert box.show(UNIT, "MainPID") == pid, box.journal(UNIT)


def test_a_killed_process_comes_back(box: Box) -> None:
    pid = box.show(UNIT, "MainPID")
    box.machine.ask(f"systemctl kill -s KILL {UNIT}")
    wait_for_another_process(box, pid)
    assert box.show(UNIT, "NRestarts") == "1", box.journal(UNIT)
    assert box.events("segment_recovered") or box.events("segment_set_aside")


def test_a_hung_process_is_killed_by_the_watchdog(box: Box) -> None:
    pid = box.show(UNIT, "MainPID")
    box.machine.ask(f"kill -STOP {pid}")
    box.machine.until(lambda: box.show(UNIT, "MainPID") != pid, "the end of the hung process", 300)
    assert "watchdog" in box.journal(UNIT).lower()
    wait_for_another_process(box, pid)


def test_agent_and_rtsp_server_come_back(box: Box) -> None:
    for unit in UNITS[:2]:
        pid = box.show(unit, "MainPID")
        box.machine.ask(f"systemctl kill -s KILL {unit}")
        box.machine.until(lambda u=unit, p=pid: box.show(u, "MainPID") not in ("0", p), unit)  # type: ignore[misc]
        box.machine.until(lambda u=unit: box.show(u, "ActiveState") == "active", unit, 900)  # type: ignore[misc]


def test_stopping_is_clean_and_leaves_evidence_that_verifies(box: Box) -> None:
    box.machine.ask(f"systemctl stop {UNIT}", timeout_s=300)
    assert box.show(UNIT, "Result") == "success", box.journal(UNIT)
    assert box.events("camera_stopped"), box.journal(UNIT)
    assert not box.machine.ask(f"find {RECORDINGS} -name '*.part'")
    box.machine.ask("systemctl stop veil-agent", timeout_s=300)
    box.machine.ask(f"{VEIL} log verify /var/lib/veil/log", timeout_s=600)


def test_a_camera_whose_driver_comes_after_the_service_is_read(box: Box) -> None:
    box.remove_driver()
    assert not box.machine.ask("grep -w video4linux /proc/devices || true")
    before = len(box.events("source_connected"))
    box.machine.ask(f"systemctl start {UNIT}", timeout_s=1200)
    box.plug_in()
    box.machine.until(lambda: len(box.events("source_connected")) > before, box.journal(UNIT), 300)
    wait_for_new_frames(box)


def test_the_units_stay_as_tight_as_they_are(box: Box) -> None:
    for unit in UNITS:
        said = box.machine.ask(f"systemd-analyze --no-pager security {unit}")
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found is not None, said
        print(f"{unit}: {found.group(1)}")
        assert float(found.group(1)) < MOST_EXPOSED, said
