"""Each change of clock, disk, heat, configuration and bundle is one event, and trembling is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_desk.box_house import Box
from agent_desk.house import SECOND
from agent_desk.house import events as events_of
from veil.agent import watch as module
from veil.agent.levels import DiskLevels, DiskState, Settled, ThermalState, thermal_state
from veil.agent.watch import BoxWatch
from veil.audit.log import EventLog
from veil.bundle_place import find_bundle
from veil.host.clock import ClockState
from veil.host.disk import MEBIBYTE, DiskSpace
from veil.host.thermal import Temperature

_TO_1970_S = -1_795_262_400


class Watched:
    """A box that is watched: `after` seconds later, what was said."""

    def __init__(self, box: Box, log: EventLog) -> None:
        self.box = box
        self.log = log
        self.watch = BoxWatch(box.config, log, box.clock, environ={}, thermal=box.root / "thermal")

    def after(self, seconds: int) -> None:
        for _ in range(seconds):
            self.box.clock.run(1)
            self.watch.step()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return events_of(self.log.path, kind)

    def all(self) -> list[str]:
        return [line.split('"kind":"')[1].split('"')[0] for line in self.log.path.read_text().splitlines()]


@pytest.fixture(autouse=True)
def space(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is free, MiB, to be changed in place; the kernel's clock is synchronised."""
    free = [100_000]
    monkeypatch.setattr(module, "disk_space", lambda _: DiskSpace(free[0] * MEBIBYTE, 200_000 * MEBIBYTE))
    monkeypatch.setattr(module, "clock_state", lambda: ClockState(synchronised=True, max_error_us=1))
    return free


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture
def watched(box: Box) -> Iterator[Watched]:
    with EventLog(box.root / "box.jsonl", "box", box.clock, reserve_bytes=0) as log:
        yield Watched(box, log)


@pytest.mark.parametrize("by_s", [3600, -3600, _TO_1970_S, -_TO_1970_S, 1, -1])
def test_a_clock_that_is_set_is_one_event_with_its_step(by_s: int, watched: Watched) -> None:
    watched.after(3)
    watched.box.clock.set_by(by_s)
    watched.after(5)
    assert watched.events("clock_stepped") == [{"ms": by_s * 1000}]


def test_a_clock_that_drifts_is_none(watched: Watched) -> None:
    for _ in range(200):
        watched.box.clock.set_by(0.2)
        watched.after(1)
    assert watched.events("clock_stepped") == []


def test_sequences_stay_in_order_while_the_clock_steps(watched: Watched) -> None:
    for by_s in (_TO_1970_S, -_TO_1970_S, 3600, -3600):
        watched.box.clock.set_by(by_s)
        watched.after(2)
    with_numbers = watched.log.path.read_text().splitlines()
    assert [f'"seq":{number},' in line for number, line in enumerate(with_numbers)] == [True] * 4


def test_whether_the_clock_is_synchronised_is_said_once_it_has_held(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.after(70)
    for second in range(100):
        lost = ClockState(synchronised=second % 2 == 0, max_error_us=1)
        monkeypatch.setattr(module, "clock_state", lambda state=lost: state)
        watched.after(1)
    assert watched.events("clock_state") == [{"state": "synchronised"}]
    monkeypatch.setattr(module, "clock_state", lambda: ClockState(synchronised=False, max_error_us=1))
    watched.after(70)
    assert watched.events("clock_state")[1:] == [{"state": "unsynchronised"}]


def test_a_filling_disk_is_low_then_full_then_again_ok_each_once(watched: Watched, space: list[int]) -> None:
    for free in (100_000, 1100, 1020, 1030, 1010, 600, 510, 515, 505, 600, 700, 1030, 1020, 1290, 100_000):
        space[0] = free
        watched.after(2)
    assert [event["state"] for event in watched.events("disk_state")] == ["low", "full", "low", "ok"]


def test_hidden_recordings_are_watched_by_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As veil-agent.service hides them: the folder in their place lies on a file system of its own."""
    hidden, allowed = tmp_path / "recordings", os.access
    hidden.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != hidden and allowed(path, mode))
    assert module._entered(hidden) == tmp_path
    assert module._entered(tmp_path) == tmp_path


def test_a_disk_that_is_full_at_the_start_is_said(watched: Watched, space: list[int]) -> None:
    space[0] = 10
    watched.after(3)
    (event,) = watched.events("disk_state")
    assert (event["state"], event["free_mib"], event["total_mib"]) == ("full", 10, 200_000)


def _heat(box: Box, celsius: float) -> None:
    zone = box.root / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("type", "cpu-thermal"),
        ("temp", str(int(celsius * 1000))),
        ("trip_point_0_type", "passive"),
        ("trip_point_0_temp", "90000"),
    ):
        (zone / name).write_text(text)


def test_heat_is_said_once_and_once_that_it_is_over(watched: Watched) -> None:
    for celsius in (60, 84, 86, 84, 86, 81, 79, 84, 79):
        _heat(watched.box, celsius)
        watched.after(2)
    states = watched.events("thermal_state")
    assert states == [
        {"state": "hot", "zone": "cpu-thermal", "celsius": 86},
        {"state": "ok", "zone": "cpu-thermal", "celsius": 79},
    ]


def test_a_changed_configuration_file_is_one_event_with_both_hashes(watched: Watched) -> None:
    watched.after(3)
    watched.box.write(front="[camera.front.mask]\nlookback_s = 0.25")
    watched.after(5)
    (event,) = watched.events("config_changed")
    assert event["old"] == watched.box.config.digest != event["new"]
    assert (event["what"], len(event["new"])) == ("file", 64)


def test_a_configuration_that_is_only_touched_or_written_again_is_none(watched: Watched) -> None:
    watched.after(3)
    watched.box.write(extra="# a comment")
    watched.after(3)
    os.utime(watched.box.file)
    watched.after(3)
    assert watched.events("config_changed") == []


def test_a_faulty_configuration_file_has_no_hash_and_tells_no_secret(watched: Watched) -> None:
    watched.box.write(front='[camera.front.capture]\npassword = "hunter2"\nuser = 7')
    watched.after(3)
    (event,) = watched.events("config_changed")
    assert event["new"] == ""
    watched.box.file.unlink()
    watched.after(3)
    watched.box.write()
    watched.after(3)
    assert [(e["old"] == "", e["new"] == "") for e in watched.events("config_changed")] == [
        (False, True),
        (True, False),
    ]
    assert "hunter2" not in watched.log.path.read_text()


def test_another_configuration_in_use_repeats_nothing_and_misses_nothing(watched: Watched) -> None:
    watched.after(70)
    watched.box.write(front="[camera.front.mask]\nlookback_s = 0.25")
    watched.box.clock.set_by(-3600)
    watched.watch.use(module.load_config(watched.box.file, {}))
    watched.after(70)
    assert watched.all() == ["clock_state", "clock_stepped", "config_changed"]


def test_a_file_that_is_being_written_is_looked_at_when_it_rests(watched: Watched) -> None:
    watched.after(2)
    for number in range(20):
        watched.box.file.write_text("= half" + "x" * number)
        watched.after(1)
    assert watched.events("config_changed") == []


def test_a_changed_bundle_is_one_event_with_both_hashes(box: Box) -> None:
    slot = box.root / "slot-a"
    shutil.copytree(find_bundle("veil-s"), slot)
    box.write(extra=f'[detector]\nbundle = "{slot}"')
    box.__post_init__ = lambda: None  # type: ignore[method-assign]
    box.config = module.load_config(box.file, {})
    with EventLog(box.root / "box.jsonl", "box", box.clock, reserve_bytes=0) as log:
        watched = Watched(box, log)
        watched.after(3)
        manifest = slot / "bundle.toml"
        manifest.write_bytes(manifest.read_bytes() + b"\n# changed\n")
        watched.after(3)
        (event,) = watched.events("bundle_changed")
    assert event["bundle"] == str(slot)
    assert event["old"] != event["new"]
    assert len(event["old"]) == len(event["new"]) == 64


def test_a_quiet_time_says_nothing_but_that_the_clock_is_right(watched: Watched) -> None:
    _heat(watched.box, 50)
    watched.after(900)
    assert watched.all() == ["clock_state"]


def test_levels_have_a_band_in_which_nothing_changes() -> None:
    levels = DiskLevels(100)
    assert [levels.update(free) for free in (200, 199, 249, 250)] == [False, True, False, True]
    assert levels.update(99)
    assert levels.state is DiskState.FULL
    assert not levels.update(124)
    assert levels.update(125)
    assert levels.state is DiskState.LOW


def test_a_sensor_without_limit_is_never_hot() -> None:
    assert thermal_state(ThermalState.OK, [Temperature("nvme", 120.0, None)]) is ThermalState.OK
    assert thermal_state(ThermalState.HOT, []) is ThermalState.OK


def test_a_value_settles_only_when_it_holds() -> None:
    settled = Settled("a", 10)
    assert not settled.update("b", 0)
    assert not settled.update("a", 5 * SECOND)
    assert not settled.update("b", 9 * SECOND)
    assert not settled.update("b", 18 * SECOND)
    assert settled.update("b", 19 * SECOND)
    assert not settled.update("b", 40 * SECOND)
