"""`make demo` without a person: it comes up, anonymizes, sums up, and leaves nothing running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from veil.up import GI_PYTHON


def _descendants_by_environment(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


@pytest.mark.skipif(not Path(GI_PYTHON).exists(), reason="needs the distribution's Python")
def test_demo_runs_sums_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    mark = f"VEIL_DEMO_TEST={tmp_path.name}"
    name, _, value = mark.partition("=")
    done = subprocess.run(
        [sys.executable, "-m", "veil.demo", "--duration", "12", "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, name: value},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stream of demo: rtsp://" in done.stdout
    assert "page: http://" in done.stdout
    recordings = list((tmp_path / "out" / "recordings" / "demo").glob("*.mp4"))
    assert recordings
    for path in recordings:
        assert str(path) in done.stdout
        probe = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames"]
        shown = subprocess.run(
            [*probe, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=True
        )
        assert int(shown.stdout) > 0
    assert _descendants_by_environment(mark) == []
