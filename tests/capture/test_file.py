"""Files: every picture once, in order, timestamps unchanged."""

from __future__ import annotations

import gc
import struct
import subprocess
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from capture.parts import Pools, Watcher, collect
from media import Clip, number_of, picture, timestamps_of, write_clip
from veil.capture.file import FileSource
from veil.config import CaptureConfig
from veil.domain.clock import SystemClock
from veil.errors import CaptureError, FrameTooLargeError

DEFAULT = CaptureConfig()
UNEVEN = (0, 3, 4, 9, 20, 21, 22, 40, 41, 47, 90, 91)


def open_file(
    path: Path, config: CaptureConfig = DEFAULT, slots: int = 4
) -> tuple[FileSource, Watcher, Pools]:
    watcher, pools = Watcher(), Pools(slots)
    return FileSource(path, config, pools, watcher, SystemClock()), watcher, pools


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_each_picture_comes_once_and_in_order(tmp_path: Path, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = Clip(codec=codec, frames=24, pixel_format=pixel_format, bframes=0 if codec == "mjpeg" else 2)
    source, watcher, _ = open_file(write_clip(tmp_path / "a.mkv", clip))
    frames = collect(source)
    assert [number_of(f.luma) for f in frames] == list(range(24))
    assert [f.info.sequence for f in frames] == list(range(24))
    assert {f.info.epoch for f in frames} == {0}
    assert frames[0].info.color.full_range == (codec == "mjpeg")
    assert watcher.drops == {}
    assert not source.is_live


def test_pictures_are_freed_at_once(tmp_path: Path) -> None:
    """A picture that only a search for garbage frees keeps its memory, and the next one takes new."""
    source, _, _ = open_file(write_clip(tmp_path / "a.mp4", Clip(frames=40)))

    def pictures() -> int:
        return sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())

    gc.collect()
    before = pictures()  # of other tests of this process
    gc.disable()
    try:
        for raw in source.frames():
            raw.release()
        held = pictures() - before
    finally:
        gc.enable()
    # Four slots, and those of keyframes.
    assert held <= 4 + 4


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_uneven_timestamps_pass_unchanged(tmp_path: Path, suffix: str) -> None:
    clip = Clip(frames=len(UNEVEN), timestamps=UNEVEN, time_base=Fraction(1, 100), bframes=2)
    path = write_clip(tmp_path / f"a.{suffix}", clip)
    source, _, _ = open_file(path)
    frames = collect(source)
    assert [f.info.pts * f.info.time_base for f in frames] == timestamps_of(path)
    assert [f.info.pts * f.info.time_base for f in frames] == [Fraction(t, 100) for t in UNEVEN]


@pytest.mark.parametrize(("width", "height"), [(321, 240), (320, 241), (321, 241), (35, 33)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p"])
def test_odd_sizes_are_padded_by_their_own_edge(
    tmp_path: Path, width: int, height: int, pixel_format: str
) -> None:
    clip = Clip(width, height, frames=2, codec="ffv1", pixel_format=pixel_format)
    source, _, _ = open_file(write_clip(tmp_path / "a.mkv", clip))
    frame = collect(source)[0]
    assert (frame.info.width, frame.info.height) == (width, height)
    assert frame.y.shape == (height + height % 2, width + width % 2)
    assert np.array_equal(frame.y[:, width:], frame.y[:, width - 1 : width][:, : width % 2])
    assert np.array_equal(frame.y[height:], frame.y[height - 1 : height][: height % 2])


# The first and second row of a display matrix, and the third of EXIF's orientations 1 to 8 in that order.
ORIENTATIONS = [
    (1, 0, 0, 1),
    (-1, 0, 0, 1),
    (-1, 0, 0, -1),
    (1, 0, 0, -1),
    (0, 1, 1, 0),
    (0, 1, -1, 0),
    (0, -1, -1, 0),
    (0, -1, 1, 0),
]


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_turned_and_mirrored_files_come_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(frames=2))
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    source, _, _ = open_file(path)
    frame = collect(source)[0]
    size = (320, 240) if matrix[0] else (240, 320)
    assert (frame.info.width, frame.info.height) == size
    upright = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"],
        capture_output=True,
        check=True,
    ).stdout
    expected = np.frombuffer(upright, np.uint8).reshape(size[1], size[0]).astype(int)
    # ffmpeg's grey is stretched to full range.
    assert np.abs((frame.y.astype(int) - 16) * 255 / 219 - expected).max() <= 4


def test_reading_waits_for_a_free_slot(tmp_path: Path) -> None:
    source, watcher, pools = open_file(write_clip(tmp_path / "a.mkv", Clip(frames=12)), slots=2)
    frames = source.frames()
    held = [next(frames), next(frames)]
    third: list[int] = []
    reader = threading.Thread(target=lambda: third.append(next(frames).info.sequence))
    reader.start()
    reader.join(0.3)
    assert reader.is_alive()
    held[0].release()
    reader.join(10)
    assert third == [2]
    assert watcher.drops == {}
    assert pools.made[(320, 240)].count == 2


def test_close_ends_a_waiting_reader(tmp_path: Path) -> None:
    source, _, _ = open_file(write_clip(tmp_path / "a.mkv", Clip(frames=12)), slots=1)
    frames = source.frames()
    held = next(frames)
    rest: list[object] = []
    reader = threading.Thread(target=lambda: rest.extend(frames))
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert rest == []
    held.release()


def test_truncated_file_gives_what_can_be_decoded(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mkv", Clip(frames=60))
    half = tmp_path / "half.mkv"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source, _, _ = open_file(half)
    numbers = [number_of(f.luma) for f in collect(source)]
    assert 15 <= len(numbers) < 60
    assert numbers[:-1] == list(range(len(numbers) - 1))


def test_broken_packets_are_stood_in_for_and_the_rest_is_delivered(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", Clip(frames=30, codec="png", pixel_format="rgb24"))
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data) - 8) if data[i : i + 8] == b"\x89PNG\r\n\x1a\n"]
    for start in starts[5:8]:
        data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    source, watcher, _ = open_file(path)
    frames = collect(source)
    assert [n for n, frame in enumerate(frames) if frame.info.is_damaged] == [5, 6, 7]
    assert [number_of(f.luma) for f in frames if not f.info.is_damaged] == [
        n for n in range(30) if n not in {5, 6, 7}
    ]
    assert watcher.drops == {}


@pytest.mark.parametrize("content", [b"", b"not a video" * 100, b"\x00\x00\x00\x20ftypisom" + bytes(500)])
def test_not_a_video_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    source, _, _ = open_file(path)
    with pytest.raises(CaptureError, match=r"a\.mp4"):
        list(source.frames())


def test_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    source, _, _ = open_file(tmp_path / "none.mp4")
    with pytest.raises(CaptureError, match="does not exist"):
        list(source.frames())


@pytest.mark.parametrize(
    ("codec", "pixel_format"), [("h264", "yuv420p"), ("h265", "yuv420p"), ("mjpeg", "yuvj420p")]
)
@pytest.mark.parametrize(("width", "height"), [(640, 480), (1024, 16)])
def test_too_large_pictures_are_refused(
    tmp_path: Path, codec: str, pixel_format: str, width: int, height: int
) -> None:
    clip = Clip(width, height, frames=2, codec=codec, pixel_format=pixel_format)
    path = write_clip(tmp_path / "a.mkv", clip)
    source, _, pools = open_file(path, CaptureConfig(max_width=320, max_height=240))
    with pytest.raises(FrameTooLargeError, match=f"{width}x{height}"):
        list(source.frames())
    assert pools.made == {}


def test_size_change_starts_an_epoch(tmp_path: Path) -> None:
    small = (write_clip(tmp_path / "a.h264", Clip(frames=10))).read_bytes()
    large = (write_clip(tmp_path / "b.h264", Clip(640, 360, frames=10))).read_bytes()
    path = tmp_path / "ab.h264"
    path.write_bytes(small + large)
    source, watcher, pools = open_file(path)
    frames = collect(source)
    assert [(f.info.width, f.info.epoch) for f in frames] == [(320, 0)] * 10 + [(640, 1)] * 10
    assert [f.info.sequence for f in frames] == list(range(20))
    assert set(pools.made) == {(320, 240), (640, 360)}
    assert watcher.sizes == [(320, 240), (640, 360)]


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_pictures_that_stand_are_as_large_as_those_that_lie(tmp_path: Path, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = Clip(144, 256, frames=2, codec=codec, pixel_format=pixel_format)
    path = write_clip(tmp_path / "a.mkv", clip)
    for limits in (
        CaptureConfig(max_width=256, max_height=144),
        CaptureConfig(max_width=144, max_height=256),
    ):
        source, _, _ = open_file(path, limits)
        assert {(f.info.width, f.info.height) for f in collect(source)} == {(144, 256)}
    source, _, pools = open_file(path, CaptureConfig(max_width=254, max_height=200))
    with pytest.raises(FrameTooLargeError, match="144x256"):
        collect(source)
    assert pools.made == {}


def test_size_change_over_the_limit_is_refused(tmp_path: Path) -> None:
    small = (write_clip(tmp_path / "a.h264", Clip(frames=10))).read_bytes()
    large = (write_clip(tmp_path / "b.h264", Clip(1280, 720, frames=4))).read_bytes()
    path = tmp_path / "ab.h264"
    path.write_bytes(small + large)
    source, _, pools = open_file(path, CaptureConfig(max_width=640, max_height=480))
    with pytest.raises(FrameTooLargeError, match="1280x720"):
        collect(source)
    assert set(pools.made) == {(320, 240)}


@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray", "bgr0", "yuv422p10le"]
)
def test_pixel_formats_give_the_same_picture(tmp_path: Path, pixel_format: str) -> None:
    path = write_clip(tmp_path / "a.mkv", Clip(frames=1, codec="ffv1", pixel_format=pixel_format))
    source, _, _ = open_file(path)
    frame = collect(source)[0]
    rgb = picture(320, 240, 0).astype(float)
    luma = 16 + (rgb @ np.array([65.738, 129.057, 25.064])) / 256
    if pixel_format != "gray":
        assert np.abs(frame.y - luma).mean() < 1.0
        blue_difference = 128 + (rgb @ np.array([-37.945, -74.494, 112.439])) / 256
        assert np.abs(frame.u - blue_difference[::2, ::2]).mean() < 2.0
    else:
        assert (frame.u == 128).all()
        assert (frame.v == 128).all()


def test_planar_video_is_copied_exactly_once(tmp_path: Path) -> None:
    source, _, _ = open_file(write_clip(tmp_path / "a.mkv", Clip(frames=20)))
    collect(source)
    assert source.intake.copier.full_size_copies == 20
