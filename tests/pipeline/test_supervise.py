"""What `veil up` does for its services: restart, watchdog, and nothing outlives it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from veil import supervise
from veil.supervise import Service, Supervision

_NOTIFIER = """
import os, socket, sys, time
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
channel.connect(os.environ["NOTIFY_SOCKET"])
channel.send(b"READY=1")
while True:
    channel.send(b"WATCHDOG=1")
    time.sleep(0.1)
"""
_FLED = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(600)
"""


def _python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def _until(supervision: Supervision, condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        supervision.step(0.02)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_service_that_ends_is_started_again() -> None:
    said: list[str] = []
    with Supervision([Service("one", _python("pass"), notifies=False)], said.append) as supervision:
        _until(supervision, lambda: supervision.restarts()["one"] >= 2)
    assert said[0] == "one ended with 0; again in 0.5 s"


def test_a_service_that_is_stopped_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "WATCHDOG_S", 0.8)
    with Supervision([Service("one", _python(_NOTIFIER), notifies=True)], lambda text: None) as supervision:
        _until(supervision, lambda: "one" in supervision.pids())
        deadline = time.monotonic() + 1.5
        _until(supervision, lambda: time.monotonic() > deadline)
        first = supervision.pids()["one"]
        os.kill(first, signal.SIGSTOP)
        _until(supervision, lambda: supervision.pids().get("one", first) != first)
    assert not _is_alive(first)


def test_nothing_outlives_it_not_even_a_stopped_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_STOP_S", 0.5)
    services = [Service(name, _python("import time; time.sleep(600)"), notifies=False) for name in ("a", "b")]
    with Supervision(services, lambda text: None) as supervision:
        _until(supervision, lambda: len(supervision.pids()) == 2)
        pids = list(supervision.pids().values())
        os.kill(pids[0], signal.SIGSTOP)
    time.sleep(0.2)
    assert not any(_is_alive(pid) for pid in pids)


def test_what_a_service_started_does_not_outlive_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "_STOP_S", 1.0)
    note = tmp_path / "pid"
    service = Service("one", _python(_FLED, str(note)), notifies=False)
    with Supervision([service], lambda text: None) as supervision:
        _until(supervision, lambda: note.exists() and bool(note.read_text()))
        pid = int(note.read_text())
    time.sleep(0.2)
    try:
        assert not _is_alive(pid)
    finally:
        if _is_alive(pid):
            os.kill(pid, signal.SIGKILL)
