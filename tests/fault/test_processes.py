"""Faults of whole processes, seen by a real viewer: something safe within a second, then live again."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

import rtsp_server
from oracle import read_once, readable, truth_number
from privacy.house import HEIGHT, WIDTH, House, Shown, house
from veil import supervise

pytestmark = [
    pytest.mark.skipif(not rtsp_server.is_available(), reason="needs gst-rtsp-server"),
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg"),
]

# Each kind once; the long version does many more in random order.
ROUNDS = max(0, int(os.environ.get("VEIL_FAULTS", "500")) // 100 - 5)
SEED = int(os.environ.get("VEIL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
SHOWN_WITHIN_S = 1.0
ALLOWANCE_S = float(os.environ.get("VEIL_ALLOWANCE_S", "1.0"))
_WATCHDOG_S = 3.0


def _camera_killed(box: House) -> None:
    box.signal_camera(signal.SIGKILL)


def _camera_aborts(box: House) -> None:
    box.signal_camera(signal.SIGABRT)


def _camera_stopped(box: House) -> None:
    # Never continued: the watchdog has to notice.
    box.signal_camera(signal.SIGSTOP)


def _camera_paused(box: House) -> None:
    pid = box.camera_pid
    os.kill(pid, signal.SIGSTOP)
    box.run_for(1.5)
    os.kill(pid, signal.SIGCONT)


def _camera_terminated(box: House) -> None:
    box.signal_camera(signal.SIGTERM)


def _source_cut(box: House) -> None:
    box.source.cut()


def _source_stalls(box: House) -> None:
    box.source.stall()
    box.run_for(3.0)
    box.source.resume()


def _source_breaks(box: House) -> None:
    box.source.break_pictures(5)


def _source_frozen(box: House) -> None:
    box.source.freeze()
    box.run_for(3.5)
    os.kill(box.source.process.pid, signal.SIGCONT)


def _server_killed(box: House) -> None:
    os.kill(box.server_pid, signal.SIGKILL)


FAULTS: tuple[Callable[[House], None], ...] = (
    _camera_killed,
    _camera_aborts,
    _camera_stopped,
    _camera_paused,
    _camera_terminated,
    _source_cut,
    _source_stalls,
    _source_breaks,
    _source_frozen,
    _server_killed,
)


def _live_after(box: House, since: float) -> bool:
    fresh = [one for one in box.watcher.pictures() if one.at > since]
    return sum(truth_number(one.luma) is not None for one in fresh) >= 10


def _longest_gap(shown: list[Shown], begun: float, ended: float) -> float:
    times = [begun, *(one.at for one in shown if begun < one.at < ended)]
    return max(b - a for a, b in itertools.pairwise([*times, ended]))


@pytest.mark.timeout(0)
def test_whatever_process_fails_the_viewer_sees_something_safe_and_then_live_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.setNumThreads(1)
    monkeypatch.setattr(supervise, "WATCHDOG_S", _WATCHDOG_S)
    # So many failures in a minute would be waited for longer and longer.
    monkeypatch.setattr(supervise, "_BACKOFF_S", (0.5,))
    chance = random.Random(SEED)
    todo = [*FAULTS, *chance.choices(FAULTS, k=ROUNDS)]
    chance.shuffle(todo)
    lines: list[str] = []
    gaps: dict[str, float] = {}
    with house(tmp_path) as box:
        started = time.monotonic()
        box.wait_for(lambda: _live_after(box, started), "a live picture at the viewer", 60)
        for fault in todo:
            box.run_for(chance.uniform(0.2, 0.6))
            begun, starts = time.monotonic(), box.watcher.starts
            fault(box)
            # A fault is not over because pictures still come from before it.
            box.run_for(0.3 if fault is not _camera_stopped else _WATCHDOG_S + 0.5)
            since = time.monotonic()
            name = fault.__name__.removeprefix("_")
            box.wait_for(lambda since=since: _live_after(box, since), f"live again after {name}", 60)  # type: ignore[misc]
            live = next(
                one.at
                for one in box.watcher.pictures()
                if one.at > since and truth_number(one.luma) is not None
            )
            gap = _longest_gap(box.watcher.pictures(), begun, live)
            again = box.watcher.starts - starts
            lines.append(
                f"{name}: without a picture {gap:.2f} s, live after {live - begun:.1f} s, "
                f"{again} new connections"
            )
            if fault is not _server_killed:
                gaps[name] = max(gap, gaps.get(name, 0.0))
        shown = box.watcher.pictures()
        restarts = dict(box.supervision.restarts())
    distinct = list({one.luma.tobytes(): one.luma for one in shown}.values())
    exposed = max(box.scene.exposed(luma) for luma in distinct if luma.shape == (HEIGHT, WIDTH))
    with capsys.disabled():
        print(f"\nseed {SEED}; restarts {restarts}; {len(shown)} pictures shown\n  " + "\n  ".join(lines))
    assert restarts["rtsp"] >= 1
    assert restarts["camera front"] >= 4
    assert exposed < 0.01
    for index, luma in enumerate(distinct):
        assert (readable(luma) if index % 20 == 0 else read_once(luma)) == []
    late = {name: gap for name, gap in gaps.items() if gap > SHOWN_WITHIN_S + ALLOWANCE_S}
    assert not late, f"seed {SEED}"
