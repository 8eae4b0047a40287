"""Nothing of a folder is left out without a word, and nothing in it is written over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from media import Clip, number_of, picture, write_clip
from veil.errors import CaptureError, UsageError
from veil.jobs import plan

from .test_files import anonymize, lumas
from .test_folders import run

# Root may look into every folder, so the look itself fails.
_WITH_A_CLOSED_FOLDER = """
import os, sys
look = os.scandir
def scandir(path):
    if os.path.basename(path) == "closed":
        raise PermissionError(13, "Permission denied", path)
    return look(path)
os.scandir = scandir
from veil.cli import main
main()
"""


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def outputs(source: Path, output: Path) -> list[str]:
    return [str(job.output.relative_to(output)) for job in plan(source, output, overwrite=True).jobs]


def test_what_a_folder_holds_besides_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "a.mp4", "notes.txt", "deep/clip", "elsewhere/b.mp4")
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (folder / "link").symlink_to(folder / "elsewhere")
    planned = plan(folder, tmp_path / "out", overwrite=False)
    assert [job.source.name for job in planned.jobs] == ["a.mp4", "b.mp4"]
    others, links = planned.left_out
    assert others == f"left out of {folder}: deep/clip, gone.mp4, notes.txt (of no known kind, or no files)"
    assert links == f"left out of {folder}: link (links to folders)"


def test_of_many_files_the_first_are_named_and_all_counted(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "a.mp4", *(f"{number:03}.txt" for number in range(300)))
    (said,) = plan(folder, tmp_path / "out", overwrite=False).left_out
    assert "000.txt" in said
    assert "and 292 more" in said


def test_a_folder_that_may_not_be_read_is_an_error_and_the_rest_is_done(tmp_path: Path) -> None:
    folder, out = make(tmp_path / "in", "closed/b.jpg", "notes.txt"), tmp_path / "out"
    Pillow.fromarray(picture(160, 120, 1)).save(folder / "a.png")
    command = [sys.executable, "-c", _WITH_A_CLOSED_FOLDER, "anonymize", folder, out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == CaptureError.exit_code
    assert f"veil: {folder / 'closed'} cannot be looked into: Permission denied." in done.stderr
    assert f"warning: left out of {folder}: notes.txt" in done.stderr
    assert [path.name for path in out.iterdir()] == ["a.png"]
    (folder / "a.png").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == CaptureError.exit_code
    assert "cannot be looked into" in done.stderr


def test_outputs_may_lie_above_the_folder(tmp_path: Path) -> None:
    folder = make(tmp_path / "raw", "a.mp4", "deep/b.jpg")
    assert outputs(folder, tmp_path) == ["a.mp4", "deep/b.jpg"]


def test_an_output_is_never_another_file_that_is_to_be_done(tmp_path: Path) -> None:
    folder = make(tmp_path / "raw", "a.mp4", "raw/a.mp4")
    with pytest.raises(UsageError, match="one of the files to do"):
        plan(folder, tmp_path, overwrite=True)


def test_what_else_lies_in_the_outputs_folder_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a.mp4", "out/a.mp4", "out/foreign.mp4")
    planned = plan(tmp_path, tmp_path / "out", overwrite=True)
    assert [job.source for job in planned.jobs] == [tmp_path / "a.mp4"]
    assert planned.left_out == (f"left out of {tmp_path / 'out'}: foreign.mp4 (the outputs' own folder)",)


def test_a_folder_takes_every_kind_that_is_read(tmp_path: Path) -> None:
    folder = make(tmp_path / "in", "a.jfif", "b.JPE", "c.ppm", "d.m2v", "e.3g2", "f.dav", "g.y4m", "h.nut")
    written = ["a.jfif", "b.JPE", "c.ppm.png", *(f"{name}.mp4" for name in ("d.m2v", "e.3g2", "f.dav"))]
    assert outputs(folder, tmp_path / "out") == [*written, "g.y4m.mp4", "h.nut.mp4"]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jfif", "JPEG"), ("a.jpe", "JPEG"), ("a.ppm", "PPM"), ("a.pgm", "PPM")]
)
def test_pictures_of_every_name_stay_pictures(tmp_path: Path, name: str, kind: str) -> None:
    image = Pillow.fromarray(picture(320, 240, 5))
    (image.convert("L") if name == "a.pgm" else image).save(tmp_path / name, kind)
    (tmp_path / "out").mkdir()
    (job,) = plan(tmp_path / name, tmp_path / "out", overwrite=False).jobs
    assert anonymize(job.source, job.output).masks == 1
    with Pillow.open(job.output) as out:
        assert out.format == ("JPEG" if kind == "JPEG" else "PNG")
        assert number_of(np.asarray(out.convert("L"))) == 5


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("a.png", "a.gif", r"a\.png is a picture and cannot become a\.gif\. Use one of \.avif, .*\.webp"),
        ("a.ppm", "a.mp4", r"a\.ppm is a picture and cannot become a\.mp4"),
        ("a.mkv", "a.jpg", r"a\.mkv is a video and cannot become a\.jpg\. Use one of .*\.mp4"),
        ("a.avi", "b.avi", r"a\.avi is a video and cannot become b\.avi"),
        ("a.xyz", "a.jpg", r"a\.xyz is taken for a video and cannot become a\.jpg"),
    ],
)
def test_what_cannot_be_written_is_said_with_what_can(
    tmp_path: Path, source: str, output: str, message: str
) -> None:
    make(tmp_path, source)
    with pytest.raises(UsageError, match=message):
        plan(tmp_path / source, tmp_path / output, overwrite=True)


def two_videos(path: Path) -> Path:
    """One of 20 frames, one of 10."""
    first_clip = write_clip(path.with_name("first.mkv"), Clip(160, 120, frames=20))
    second_clip = write_clip(path.with_name("second.mkv"), Clip(320, 240, frames=10))
    with (
        av.open(str(first_clip)) as first,
        av.open(str(second_clip)) as second,
        av.open(str(path), "w") as out,
    ):
        streams = [(given, out.add_stream_from_template(given.streams.video[0])) for given in (first, second)]
        for given, stream in streams:
            for packet in given.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    return path


def test_a_second_video_in_a_file_is_told(tmp_path: Path) -> None:
    source = two_videos(tmp_path / "in.mkv")
    result = anonymize(source, tmp_path / "out.mp4")
    assert result.other_videos == 1
    assert result.frames == len(lumas(tmp_path / "out.mp4"))
    done = run(source, tmp_path / "again.mp4", "--evidence", tmp_path / "done.jsonl")
    assert done.returncode == 0
    assert f"warning: {source} has 2 videos in it, of which only one was taken" in done.stderr
    assert '"other_videos":1' in (tmp_path / "done.jsonl").read_text()
