"""An output has its name only when it is whole and in the evidence; killed runs leave nothing for ever."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image as Pillow

from media import Clip, picture, write_clip
from veil.anonymize import Anonymizer
from veil.audit.event import Event, Kind
from veil.config import CameraConfig
from veil.domain.clock import SystemClock
from veil.errors import LogError, UsageError
from veil.jobs import Job, plan
from veil.sinks.beside import part_beside, remove_left_parts

from .test_files import Fixed, anonymize
from .test_folders import VEIL, run


def source_of(folder: Path, suffix: str) -> Path:
    path = folder / f"in{suffix}"
    if suffix == ".png":
        Pillow.fromarray(picture(320, 240, 1)).save(path)
        return path
    return write_clip(path, Clip(frames=10))


class Log:
    """Remembers; `at_the_end` is called when a file is said to be anonymized."""

    def __init__(self, at_the_end: Callable[[Event], None]) -> None:
        self._at_the_end = at_the_end

    def append(self, event: Event) -> int:
        if event.kind is Kind.FILE_ANONYMIZED:
            self._at_the_end(event)
        return 0


def work(source: Path, output: Path, log: Log) -> None:
    config = CameraConfig(name="file", source=str(source))
    Anonymizer(config, Fixed(), log, SystemClock()).run(Job(source, output), lambda _: None)


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_no_log_no_file(tmp_path: Path, suffix: str) -> None:
    source, output = source_of(tmp_path, suffix), tmp_path / f"out{suffix}"

    def full(event: Event) -> None:
        raise LogError(f"no space for {event.kind}")

    with pytest.raises(LogError):
        work(source, output, Log(full))
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    output.write_text("earlier")
    with pytest.raises(LogError):
        work(source, output, Log(full))
    assert output.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name, output.name]


@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_the_evidence_is_there_before_the_name(tmp_path: Path, suffix: str) -> None:
    source, output = source_of(tmp_path, suffix), tmp_path / f"out{suffix}"
    seen: list[tuple[bool, object]] = []
    work(source, output, Log(lambda event: seen.append((output.exists(), event.data["output_sha256"]))))
    assert seen == [(False, hashlib.sha256(output.read_bytes()).hexdigest())]


def test_evidence_on_a_full_disk_leaves_no_output(tmp_path: Path, full_disk: Path) -> None:
    source = source_of(tmp_path, ".png")
    done = run(source, tmp_path / "out.png", "--evidence", full_disk / "done.jsonl")
    assert done.returncode == LogError.exit_code
    assert "No space left" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["in.png"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("may not mount here")
    except FileNotFoundError:
        pytest.skip("no mount here")
    try:
        with suppress(OSError):
            (place / "filling").write_bytes(bytes(1 << 20))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("evidence", ["in.png", "out.png", "link.png", "hard.png", "sub/../out.png"])
def test_evidence_is_neither_input_nor_output(tmp_path: Path, evidence: str) -> None:
    source = source_of(tmp_path, ".png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.png").symlink_to(source)
    (tmp_path / "hard.png").hardlink_to(source)
    with pytest.raises(UsageError, match="both the evidence and"):
        plan(source, tmp_path / "out.png", overwrite=True, evidence=tmp_path / evidence)
    assert plan(source, tmp_path / "out.png", overwrite=True, evidence=tmp_path / "done.jsonl").jobs


def test_evidence_is_no_output_of_a_folder(tmp_path: Path) -> None:
    source = source_of(tmp_path, ".png")
    done = run(source, tmp_path / "out.png", "--evidence", tmp_path / "out.png")
    assert done.returncode == UsageError.exit_code
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(UsageError, match="both the evidence and"):
        plan(tmp_path, tmp_path / "out", overwrite=True, evidence=tmp_path / "out" / "in.png")


def _dead() -> int:
    with subprocess.Popen(["true"]) as ended:
        pass
    return ended.pid


@pytest.mark.parametrize("name", ["out.mp4", "out.png", "o" * 251 + ".png"])
def test_parts_of_dead_processes_go_and_those_of_others_stay(tmp_path: Path, name: str) -> None:
    source = source_of(tmp_path, Path(name).suffix)
    mine = part_beside(tmp_path / name).name
    left = tmp_path / mine.replace(str(os.getpid()), str(_dead()))
    stays = {
        mine.replace(str(os.getpid()), str(os.getppid())),
        mine.replace(str(os.getpid()), "x"),
        f".other.mp4.{_dead()}.part",
        f".{name}x"[:200] + f".{_dead()}.part",
    }
    for part in (left.name, *stays):
        (tmp_path / part).write_text("half")
    anonymize(source, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {source.name, name} | stays


def test_a_run_that_was_killed_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=600))
    with subprocess.Popen([*VEIL, source, tmp_path / "out.mp4"]) as running:
        while running.poll() is None and not list(tmp_path.glob(".*.part")):
            time.sleep(0.02)
        running.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob(".*.part"))) == 1
    anonymize(write_clip(tmp_path / "in.mp4", Clip(frames=3)), tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_folder_that_may_not_be_listed_is_no_error(tmp_path: Path) -> None:
    remove_left_parts(tmp_path / "missing" / "out.mp4")
