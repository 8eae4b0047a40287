"""`make demo` without a person: it comes up, anonymizes, is seen by its fleet manager, sums up, and leaves
nothing running."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from fleet_house import MISSING, mosquitto_is_missing, wait_for
from media import Clip, write_clip
from veil.demo import fleet
from veil.up import GI_PYTHON

pytestmark = pytest.mark.skipif(not Path(GI_PYTHON).exists(), reason="needs the distribution's Python")


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


class Demo:
    """A demo that runs; `said` is what it has printed so far."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environ},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def wait_said(self, pattern: str, limit_s: float = 120) -> re.Match[str]:
        wait_for(
            lambda: bool(re.search(pattern, self.said)) or self.process.poll() is not None, pattern, limit_s
        )
        found = re.search(pattern, self.said)
        assert found, self.said
        return found

    def end(self, limit_s: float = 120) -> int:
        code = self.process.wait(limit_s)
        self._reader.join(10)
        return code


@contextmanager
def _demo(tmp_path: Path, *options: str, before: str = "") -> Iterator[Demo]:
    """`before`: Python to run in its process first. Afterwards nothing of it is left."""
    mark = f"VEIL_DEMO_TEST={tmp_path.name}"
    name, _, value = mark.partition("=")
    run = "import runpy, sys; sys.argv[0] = 'demo'; runpy.run_module('veil.demo', run_name='__main__')"
    script = f"{before}\n{run}"
    demo = Demo(["-c", script, "--out", str(tmp_path / "out"), *options], {name: value})
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait(10)
        # Whatever ended it: those it started follow.
        wait_for(lambda: _descendants_by_environment(mark) == [], "the end of all that it started", 15)


def _signed_in(url: str, name: str, password: str) -> httpx.Client:
    client = httpx.Client(base_url=url, follow_redirects=True, timeout=30)
    token = re.search(r'name="token" value="([^"]+)"', client.get("/login").text)
    assert token
    answer = client.post("/login", data={"name": name, "password": password, "token": token[1], "next": "/"})
    assert answer.status_code == 200, answer.text
    return client


def _recorded(folder: Path) -> int:
    """Bytes so far; a recording may be renamed meanwhile."""
    total = 0
    for path in folder.glob("*.mp4*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _wait_for_a_recording(out: Path) -> None:
    """Of the camera's pictures: before it answers, the slate is recorded."""
    log, recordings = out / "state" / "log" / "demo" / "events.jsonl", out / "recordings" / "demo"
    wait_for(lambda: log.exists() and '"source_connected"' in log.read_text(), "the camera's answer", 60)
    before = _recorded(recordings)
    wait_for(lambda: _recorded(recordings) > before + 300_000, "a recording", 60)


def _check_recordings(folder: Path, said: str) -> None:
    recordings = list(folder.glob("*.mp4"))
    assert recordings
    for path in recordings:
        assert str(path) in said
        probe = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames"]
        shown = subprocess.run(
            [*probe, "-of", "csv=p=0", str(path)], capture_output=True, text=True, check=True
        )
        assert int(shown.stdout) > 0


@pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING)
def test_demo_is_seen_by_its_fleet_manager_sums_up_and_leaves_nothing_behind(tmp_path: Path) -> None:
    recordings = tmp_path / "out" / "recordings" / "demo"
    with _demo(tmp_path) as demo:
        url = demo.wait_said(r"fleet page: (http://\S+)")[1]
        password = demo.wait_said(r"sign in as demo or auditor, password (\S+)")[1]
        command = demo.wait_said(r"commands: (.+)\n")[1]
        with closing(_signed_in(url, "auditor", password)) as page:
            wait_for(
                lambda: 'data-live="status" data-state="online"' in page.get("/boxes/demo").text, "online", 60
            )
        pinged = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60
        )
        assert (pinged.returncode, pinged.stdout[:6]) == (0, "demo: "), pinged.stderr + shlex.quote(command)
        _wait_for_a_recording(tmp_path / "out")
        # Ctrl-C at a terminal goes to the whole group; its children are in groups of their own.
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 0, demo.said
        assert "stream of demo: rtsp://" in demo.said
        assert "\n  page: http://" in demo.said
        _check_recordings(recordings, demo.said)
        counted = demo.wait_said(r"events: (\d+) logged, (\d+) signed, (\d+) cosigned")
        logged, signed, cosigned = map(int, counted.groups())
        assert logged == signed
        # The agent's last words are received after it has gone.
        assert logged - 3 <= cosigned <= logged
        assert re.search(r"veil log verify \S+: holds", demo.said)


def test_without_mosquitto_the_demo_shows_a_given_source_and_says_what_lacks(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", Clip(frames=300, rate=10))
    absent = "import veil.demo.fleet as fleet; fleet.mosquitto = lambda: None"
    with _demo(tmp_path, "--duration", "5", "--source", str(clip), before=absent) as demo:
        demo.wait_said("without a fleet manager: Mosquitto is not installed")
        assert demo.end() == 0, demo.said
        assert "fleet page" not in demo.said
        assert "making the demo clip" not in demo.said
        _check_recordings(tmp_path / "out" / "recordings" / "demo", demo.said)
        assert re.search(r"events: (\d+) logged, \1 signed, 0 cosigned", demo.said)
        assert re.search(r"veil log verify \S+: holds", demo.said)


@pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING)
def test_a_fleet_that_cannot_be_set_up_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "fleet").write_text("in the way")
    with fleet.FleetSetup(tmp_path / "fleet", "demo") as setup:
        said = setup.finish()
    assert isinstance(said, str)
    assert "\n" not in said
    assert "is no folder" in said
