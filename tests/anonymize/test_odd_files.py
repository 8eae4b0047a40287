"""Files as they lie about: joined, encrypted, unreadable, oddly named, of kinds that are only read."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from PIL import Image as Pillow

from media import Clip, number_of, picture, timestamps_of, write_clip
from veil.capture.copy import Rotation, aspect_of
from veil.errors import CaptureError, SinkError, UsageError
from veil.jobs import plan

from .test_files import anonymize, lumas

VEIL = (sys.executable, "-m", "veil.cli", "anonymize")


def remux(source: Path, target: Path, shift_s: Fraction = Fraction(0), **options: str) -> Path:
    """The packets of `source` in another file, all `shift_s` later."""
    with (
        av.open(str(source)) as given,
        av.open(str(target), "w", options={"avoid_negative_ts": "disabled", **options}) as out,
    ):
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is None or packet.pts is None:
                continue
            shift = int(shift_s / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
            out.mux(packet)
    return target


def stamps(path: Path) -> list[Fraction]:
    """Presentation times of a file's pictures, in order of decoding."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        assert base is not None
        return [(frame.pts or 0) * base for frame in container.decode(video=0)]


def _steps(times: list[Fraction]) -> set[Fraction]:
    return {after - before for before, after in pairwise(times)}


def test_recordings_that_were_joined_keep_their_speed(tmp_path: Path) -> None:
    clip = Clip(frames=20, rate=25, bframes=2)
    first = remux(write_clip(tmp_path / "a.mp4", clip), tmp_path / "a.ts", Fraction(1000))
    second = remux(write_clip(tmp_path / "b.mp4", clip), tmp_path / "b.ts")
    joined = tmp_path / "in.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    anonymize(joined, tmp_path / "out.mp4")
    times = stamps(tmp_path / "out.mp4")
    assert _steps(times) == {Fraction(1, 25)}
    pictures = lumas(tmp_path / "out.mp4")
    # The counter of the stream's pieces jumps where the parts meet: there the last three count as not whole.
    assert [number_of(luma) for luma in pictures[:17] + pictures[20:]] == [*range(17), *range(20)]


def test_joined_recordings_of_two_sizes_keep_their_speed(tmp_path: Path) -> None:
    parts = [write_clip(tmp_path / f"{w}.ts", Clip(w, 240, frames=12, rate=25)) for w in (320, 480)]
    (tmp_path / "in.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    anonymize(tmp_path / "in.ts", tmp_path / "out.mp4")
    times = stamps(tmp_path / "out.mp4")
    assert _steps(times) == {Fraction(1, 25)}


def test_clock_that_wraps_goes_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", Clip(frames=30, rate=25, bframes=2))
    source = remux(clip, tmp_path / "in.ts", Fraction(2**33, 90_000) - Fraction(1, 2))
    anonymize(source, tmp_path / "out.mp4")
    times = stamps(tmp_path / "out.mp4")
    assert len(times) == 30
    assert _steps(times) == {Fraction(1, 25)}


def test_times_below_zero_lose_no_frame(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", Clip(frames=20, rate=25))
    source = remux(clip, tmp_path / "in.mkv", Fraction(-2, 5))
    anonymize(source, tmp_path / "out.mp4")
    assert stamps(tmp_path / "out.mp4") == [Fraction(number, 25) for number in range(20)]


@pytest.mark.parametrize("bframes", [0, 2])
def test_avi_keeps_its_steady_rate_to_the_end(tmp_path: Path, bframes: int) -> None:
    source = write_clip(tmp_path / "in.avi", Clip(frames=20, rate=25, bframes=bframes))
    anonymize(source, tmp_path / "out.mp4")
    times = stamps(tmp_path / "out.mp4")
    assert len(times) == 20
    assert _steps(times) == {Fraction(1, 25)}


def test_gap_that_mp4_cannot_hold_is_refused_and_mkv_holds_it(tmp_path: Path) -> None:
    base, gap = Fraction(1, 1_000_000), 3_000_000_000
    times = tuple(40_000 * number + (gap if number > 5 else 0) for number in range(10))
    source = write_clip(
        tmp_path / "in.nut",
        Clip(frames=10, timestamps=times, time_base=base, codec="mjpeg", pixel_format="yuvj420p"),
    )
    with pytest.raises(SinkError, match=r"gap of 3000 s.*\.mkv"):
        anonymize(source, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nut"]
    anonymize(source, tmp_path / "out.mkv")
    assert timestamps_of(tmp_path / "out.mkv") == [time * base for time in times]


def test_encrypted_video_is_refused(tmp_path: Path) -> None:
    key, identity = "76a6c65c5ea762046bd749a2e632ccbb", "a7e61c373e219033c21091fa607bf3b8"
    source = remux(
        write_clip(tmp_path / "a.mp4", Clip(frames=5)),
        tmp_path / "in.mp4",
        encryption_scheme="cenc-aes-ctr",
        encryption_key=key,
        encryption_kid=identity,
    )
    with pytest.raises(CaptureError, match="encrypted"):
        anonymize(source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_cover_picture_is_no_video(tmp_path: Path) -> None:
    Pillow.fromarray(picture(64, 64, 1)).save(tmp_path / "cover.jpg")
    with (
        av.open(str(tmp_path / "cover.jpg")) as cover,
        av.open(str(tmp_path / "in.mp4"), "w") as out,
    ):
        stream = out.add_stream_from_template(cover.streams.video[0])
        stream.disposition = av.stream.Disposition.attached_pic
        for packet in cover.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(CaptureError, match="no video"):
        anonymize(tmp_path / "in.mp4", tmp_path / "out.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize(("rotation", "shape"), [(0, Fraction(16, 15)), (90, Fraction(15, 16))])
def test_samples_that_are_not_square_stay_so(
    tmp_path: Path, suffix: str, rotation: int, shape: Fraction
) -> None:
    clip = Clip(64, 48, frames=3, rotation=rotation, options=(("x264-params", "sar=16/15"),))
    anonymize(write_clip(tmp_path / "in.mp4", clip), tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.streams.video[0].sample_aspect_ratio == shape


@pytest.mark.parametrize("ratio", [None, Fraction(0), Fraction(1, 100), Fraction(2**31 - 1, 3)])
def test_nonsense_about_samples_means_square_ones(ratio: Fraction | None) -> None:
    assert aspect_of(ratio, Rotation.NONE) == (1, 1)


def test_undecodable_pictures_are_told(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.avi", Clip(frames=20, codec="mjpeg", pixel_format="yuvj420p"))
    data = bytearray(source.read_bytes())
    begin = data.index(b"\xff\xd8\xff", len(data) // 2)
    end = data.index(b"\xff\xd8\xff", begin + 3) - 64
    data[begin:end] = bytes(end - begin)
    source.write_bytes(data)
    result = anonymize(source, tmp_path / "out.mp4")
    assert (result.frames, result.whole, result.undecodable) == (20, 1, 1)


def test_second_picture_inside_a_jpeg_is_left_out(tmp_path: Path) -> None:
    first, second = (Pillow.fromarray(picture(320, 240, number)) for number in (1, 2))
    first.save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=[second])
    assert (tmp_path / "in.jpg").read_bytes().count(b"\xff\xd8\xff") == 2
    anonymize(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert (tmp_path / "out.jpg").read_bytes().count(b"\xff\xd8\xff") == 1
    with Pillow.open(tmp_path / "out.jpg") as image:
        assert getattr(image, "n_frames", 1) == 1


def _text_that_unpacks_to_gigabytes() -> bytes:
    chunk = b"zTXt" + b"k\0\0" + zlib.compress(bytes(70_000_000))
    picture = io.BytesIO()
    Pillow.new("RGB", (9, 9)).save(picture, "PNG")
    head, rest = picture.getvalue()[:33], picture.getvalue()[33:]
    return head + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + rest


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        _text_that_unpacks_to_gigabytes(),
    ],
    ids=["empty", "program", "bomb"],
)
def test_what_is_no_picture_is_refused_unopened(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.png").write_bytes(content)
    with pytest.raises(CaptureError, match="cannot be read as a picture"):
        anonymize(tmp_path / "in.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_folder_takes_kinds_that_are_only_read(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.avi", "sub/b.WEBM", "c.heic", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"")
    jobs = plan(tmp_path / "in", tmp_path / "out", overwrite=False).jobs
    assert [str(job.output.relative_to(tmp_path / "out")) for job in jobs] == [
        "a.avi.mp4",
        "c.heic",
        "sub/b.WEBM.mp4",
    ]
    with pytest.raises(CaptureError, match=r"\.heic pictures cannot be read.*JPEG or PNG"):
        anonymize(tmp_path / "in" / "c.heic", tmp_path / "out" / "c.heic")


def _two_become_one(folder: Path) -> tuple[Path, Path]:
    for name in ("a.avi", "a.avi.mp4"):
        (folder / name).write_bytes(b"")
    return folder, folder.parent / "out"


def _output_is_a_pipe(folder: Path) -> tuple[Path, Path]:
    os.mkfifo(folder / "pipe.mp4")
    (folder / "a.mp4").write_bytes(b"")
    return folder / "a.mp4", folder / "pipe.mp4"


def _source_is_a_pipe(folder: Path) -> tuple[Path, Path]:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4", folder / "out.mp4"


def _source_is_below_a_file(folder: Path) -> tuple[Path, Path]:
    return folder / ("x" * 300) / "a.mp4", folder / "out.mp4"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_two_become_one, "Two files would become"),
        (_output_is_a_pipe, "is not a file"),
        (_source_is_a_pipe, "is not a file"),
        (_source_is_below_a_file, "too long|does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    tmp_path: Path, make: Callable[[Path], tuple[Path, Path]], message: str
) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match=message):
        plan(*make(tmp_path / "in"), overwrite=True)


def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=1))
    with pytest.raises(SinkError, match="cannot be made"):
        anonymize(source, source / "deeper" / "out.mp4")


def test_earlier_outputs_inside_the_folder_are_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    for name in ("a.mp4", "out/a.mp4"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert [str(job.source) for job in plan(Path(), tmp_path / "out", overwrite=True).jobs] == ["a.mp4"]


def test_names_that_are_no_text_are_only_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["-a:b\n[c]%d.mp4", os.fsdecode(b"\xff.mkv")]
    for name in names:
        write_clip(tmp_path / "clip.mp4", Clip(frames=2)).rename(folder / name)
    done = subprocess.run([*VEIL, folder, tmp_path / "out"], capture_output=True, check=False)
    assert (done.returncode, {path.name for path in (tmp_path / "out").iterdir()}) == (0, set(names)), (
        done.stderr
    )


def test_asked_to_end_it_leaves_nothing_behind(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.mp4", Clip(frames=600))
    with subprocess.Popen([*VEIL, source, tmp_path / "out.mp4"]) as running:
        while running.poll() is None and not list(tmp_path.glob(".*.part")):
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
    assert running.returncode == 128 + signal.SIGTERM
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4"]


def test_two_runs_with_one_output_leave_one_whole_file(tmp_path: Path) -> None:
    sources = [write_clip(tmp_path / f"{frames}.mp4", Clip(frames=frames)) for frames in (40, 60)]
    output = tmp_path / "out.mp4"
    both = [subprocess.Popen([*VEIL, source, output, "--force"]) for source in sources]
    assert [run.wait() for run in both] == [0, 0]
    assert len(lumas(output)) in {40, 60}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["40.mp4", "60.mp4", "out.mp4"]
