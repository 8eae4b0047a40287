"""How a camera ends: its state file tells of the whole run, its log why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
