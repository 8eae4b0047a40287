"""The whole daemon in real processes on a scene of machine-readable markers: nothing readable gets out, not
into any file, not even by a crash with raw frames in memory; and no credentials either."""

from __future__ import annotations

import base64
import os
import resource
import shutil
import signal
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

import rtsp_server
from media import Image, write_clip
from oracle import PICTURES, Scene, readable, scene_clip, truth_number
from privacy.house import HEIGHT, PASSWORD, RATE, USER, WIDTH, House, Shown, house
from privacy.search import markers_in

pytestmark = [
    pytest.mark.skipif(not rtsp_server.is_available(), reason="needs gst-rtsp-server"),
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg"),
]


@dataclass
class Aftermath:
    """What a run left."""

    root: Path
    scene: Scene
    shown: list[Shown]
    snapshots: list[Path]
    limits: str
    command_lines: str
    crashes: list[str]


def _live(box: House, count: int) -> bool:
    return sum(truth_number(one.luma) is not None for one in box.watcher.pictures()[-60:]) >= count


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    cv2.setNumThreads(1)
    root = tmp_path_factory.mktemp("house")
    kept = tmp_path_factory.mktemp("kept")
    snapshots: list[Path] = []
    with house(root) as box:
        box.wait_for(lambda: _live(box, 10), "a live picture at the viewer", 60)
        limits = Path(f"/proc/{box.camera_pid}/limits").read_text()
        lines = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in (box.camera_pid, box.server_pid))
        snapshot = root / "run" / "cameras" / "front" / "snapshot.jpg"
        for index in range(8):
            box.run_for(0.4)
            if snapshot.exists():
                snapshots.append(kept / f"{index}.jpg")
                shutil.copy(snapshot, snapshots[-1])
        # What `kill -11` does with frames of all stages in memory, and then a clean end.
        box.signal_camera(signal.SIGSEGV)
        box.wait_for(lambda: bool(box.said), "the supervisor sees the crash")
        count = len(box.watcher.pictures())
        box.wait_for(
            lambda: len(box.watcher.pictures()) > count + 30 and _live(box, 20), "live again after a crash"
        )
        said = list(box.said)
    return Aftermath(root, box.scene, box.watcher.pictures(), snapshots, limits, lines, said)


def _distinct(shown: list[Shown]) -> list[Image]:
    return list({one.luma.tobytes(): one.luma for one in shown}.values())


def test_the_viewer_got_no_readable_marker(aftermath: Aftermath) -> None:
    pictures = _distinct(aftermath.shown)
    scene = [luma for luma in pictures if truth_number(luma) is not None]
    assert len(scene) > 60
    assert max(aftermath.scene.exposed(luma) for luma in scene) < 0.01
    for luma in pictures[::4]:
        assert readable(luma) == []


def test_recordings_and_snapshots_hold_no_readable_marker(aftermath: Aftermath) -> None:
    recordings = sorted((aftermath.root / "state" / "recordings").rglob("*.mp4*"))
    assert len(recordings) >= 2
    assert len(aftermath.snapshots) >= 4
    for path in (*recordings, *aftermath.snapshots):
        assert markers_in(path, WIDTH, HEIGHT, every=12) == set(), path.name


def test_no_file_anywhere_holds_a_readable_marker(aftermath: Aftermath) -> None:
    searched = 0
    for path in sorted(aftermath.root.rglob("*")):
        if path.is_file() and "recordings" not in path.parts:
            assert markers_in(path, WIDTH, HEIGHT) == set(), path
            searched += 1
    assert searched >= 5


def test_a_crash_leaves_no_core(aftermath: Aftermath) -> None:
    assert any(f"ended with {-signal.SIGSEGV}" in said for said in aftermath.crashes)
    assert list((aftermath.root / "cwd").iterdir()) == []
    assert [path for path in aftermath.root.rglob("*core*") if path.is_file()] == []
    core = next(line for line in aftermath.limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]


def test_temporary_files_are_none(aftermath: Aftermath) -> None:
    assert list((aftermath.root / "tmp").iterdir()) == []


def test_credentials_are_in_no_file_log_or_command_line(aftermath: Aftermath) -> None:
    forms = {
        PASSWORD,
        urllib.parse.quote(PASSWORD, safe=""),
        base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
        f"{USER}:",
    }
    for form in forms:
        assert form not in aftermath.command_lines
        for path in aftermath.root.rglob("*"):
            if path.is_file() and "secret" not in path.parts:
                assert form.encode() not in path.read_bytes(), (form, path)


def test_control_the_search_finds_the_unmasked_scene(tmp_path: Path) -> None:
    scene = Scene(WIDTH, HEIGHT)
    numbers = range(0, PICTURES, 6)
    seen = sum(bool(readable(scene.luma(number))) for number in numbers)
    assert seen >= 0.95 * len(numbers)
    clip = write_clip(tmp_path / "clip.mp4", scene_clip(scene, frames=4, rate=RATE))
    cv2.imwrite(str(tmp_path / "picture.jpg"), scene.luma(5))
    chroma = np.full(WIDTH * HEIGHT // 2, 128, np.uint8).tobytes()
    raw = b"some header" * 777 + scene.luma(9).tobytes() + chroma + b"more"
    (tmp_path / "planes.bin").write_bytes(raw)
    (tmp_path / "padded.bin").write_bytes(np.pad(scene.luma(9), ((0, 0), (0, 64))).tobytes())
    for path in (clip, tmp_path / "picture.jpg", tmp_path / "planes.bin", tmp_path / "padded.bin"):
        assert markers_in(path, WIDTH, HEIGHT), path.name


def test_control_a_crash_without_our_limit_leaves_a_core(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if "/" in pattern or pattern.startswith("|") or hard == 0:
        pytest.skip(f"cores go elsewhere here ({pattern})")
    subprocess.run(
        ["/bin/sh", "-c", "ulimit -c unlimited; exec sleep 60 & kill -11 $!; wait"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    assert list(tmp_path.glob("core*"))


def test_nobody_of_the_same_user_may_read_the_process(tmp_path: Path) -> None:
    """PR_GET_DUMPABLE says 0, so that neither a core goes to a program nor gcore gets at the memory."""
    code = (
        "import ctypes; from veil.host.secrecy import forbid_memory_dumps; "
        "print(ctypes.CDLL(None).prctl(3)); forbid_memory_dumps(); print(ctypes.CDLL(None).prctl(3))"
    )
    import sys

    import veil

    environ = {**os.environ, "PYTHONPATH": str(Path(veil.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout.split() == ["1", "0"]
