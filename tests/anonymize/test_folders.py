"""Folders as they lie about: what can be done is done, and each failure is one message."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

from media import Clip, picture, write_clip
from veil.errors import CaptureError, DiskFullError, SinkError, UsageError
from veil.jobs import plan

from .test_files import anonymize, lumas

VEIL = (sys.executable, "-m", "veil.cli", "anonymize")


def run(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VEIL, *arguments], capture_output=True, text=True, errors="backslashreplace", check=False
    )


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if not path.is_dir()}


def test_good_files_are_done_and_each_bad_one_is_said(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    clip = write_clip(tmp_path / "clip.mp4", Clip(160, 120, frames=3))
    good = ["with spaces and ümlaut.mp4", os.fsdecode(b"\xff\xfe.mp4"), "l" * 251 + ".mp4", "-x.mp4"]
    for name in good:
        (folder / name).write_bytes(clip.read_bytes())
    Pillow.fromarray(picture(160, 120, 1)).save(folder / ("p" * 251 + ".png"))
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:900])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.mkv").write_text("not a video")
    (folder / "notes.txt").write_text("left alone")
    (folder / "nothing.mp4").symlink_to(tmp_path / "gone.mp4")
    (folder / "elsewhere.mp4").symlink_to(clip)
    (folder / "round").symlink_to(folder)
    done = run(folder, out)
    assert names_in(out) == {*good, "p" * 251 + ".png", "elsewhere.mp4"}
    assert done.returncode == CaptureError.exit_code
    said = [line for line in done.stderr.splitlines() if line.startswith("veil: ")]
    assert [sum(name in line for line in said) for name in ("cut.mp4", "empty.jpg", "text.mkv")] == [1, 1, 1]
    assert len(said) == 3
    assert "Traceback" not in done.stderr
    assert [len(lumas(out / name)) for name in good] == [3, 3, 3, 3]
    assert clip.exists()


def test_a_folder_into_itself_is_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", Clip(frames=1))
    (tmp_path / "link").symlink_to(tmp_path)
    for output in (tmp_path, tmp_path / "link"):
        with pytest.raises(UsageError, match="own output"):
            plan(tmp_path, output, overwrite=True)


def test_a_link_to_the_input_is_not_written_over(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", Clip(frames=1))
    (tmp_path / "b.mp4").symlink_to(source)
    with pytest.raises(UsageError, match="own output"):
        plan(source, tmp_path / "b.mp4", overwrite=True)


def test_another_name_of_the_input_keeps_its_content(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", Clip(frames=2))
    content = source.read_bytes()
    (tmp_path / "b.mp4").hardlink_to(source)
    anonymize(source, tmp_path / "b.mp4")
    assert source.read_bytes() == content
    assert (tmp_path / "b.mp4").read_bytes() != content


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("may not mount here")
    except FileNotFoundError:
        pytest.skip("no mount here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_video_on_a_full_disk_is_one_clear_error(tmp_path: Path, small_disk: Path, suffix: str) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(640, 480, frames=40))
    with pytest.raises(SinkError, match="No space left"):
        anonymize(source, small_disk / f"out{suffix}")
    assert list(small_disk.iterdir()) == []


def test_a_still_on_a_full_disk_is_one_clear_error(tmp_path: Path, small_disk: Path) -> None:
    Pillow.fromarray(picture(1280, 960, 1)).save(tmp_path / "in.png")
    with pytest.raises(DiskFullError):
        anonymize(tmp_path / "in.png", small_disk / "out.png")
    assert list(small_disk.iterdir()) == []


@pytest.fixture
def sealed_folder(small_disk: Path) -> Path:
    """Nobody may write there, root neither."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    return small_disk


@pytest.mark.parametrize("name", ["out.mp4", "deeper/out.mp4", "out.png"])
def test_a_folder_that_may_not_be_written_is_one_clear_error(
    tmp_path: Path, sealed_folder: Path, name: str
) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=2))
    if name.endswith(".png"):
        source = tmp_path / "in.png"
        Pillow.fromarray(picture(320, 240, 1)).save(source)
    done = run(source, sealed_folder / name)
    assert done.returncode == SinkError.exit_code
    assert "Read-only file system" in done.stderr
    assert len(done.stderr.splitlines()) == 2
