"""The state file tells of the whole run once a camera has ended."""

from __future__ import annotations

import json
from pathlib import Path

from veil.camera import _Reporter
from veil.host.sdnotify import Supervisor
from veil.stats import CameraStats


def test_what_happened_after_the_last_second_is_in_the_last_state(tmp_path: Path) -> None:
    path, stats = tmp_path / "state.json", CameraStats()
    with _Reporter(path, stats, Supervisor(), lambda: True, lambda: None):
        stats.dropped("late")
    assert json.loads(path.read_text())["dropped"] == {"late": 1}
