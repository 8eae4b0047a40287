"""V4L2: pictures, times and failures, against recorded driver answers and, where there is one, `vivid`."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from linuxpy.video import device as linux_v4l2

from capture.parts import Kept, Pools, Watcher, collect, keep
from capture.v4l2_camera import IOC, Camera, install
from media import Clip, encode_packets, number_of, picture
from veil.capture.source import DropReason
from veil.capture.v4l2 import V4l2Source, choose_format
from veil.config import CaptureConfig
from veil.domain.clock import SystemClock
from veil.errors import CaptureError, FrameTooLargeError, StreamStalledError

QUICK = CaptureConfig(reconnect_min_s=0.05, reconnect_max_s=0.1, stall_timeout_s=0.6)
WIDTH, HEIGHT = 64, 48


@pytest.fixture
def make_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Camera]]:
    made: list[Camera] = []

    def make(**changes: object) -> Camera:
        camera = Camera(tmp_path / "video0", **changes)  # type: ignore[arg-type]
        made.append(camera)
        install(monkeypatch, camera)
        return camera

    yield make
    for camera in made:
        camera.close()


def yuyv(number: int) -> tuple[bytes, np.ndarray]:
    """A packed picture and its luma."""
    luma = np.ascontiguousarray(picture(WIDTH, HEIGHT, number)[..., 1])
    packed = np.empty((HEIGHT, WIDTH, 2), np.uint8)
    packed[..., 0] = luma
    packed[:, 0::2, 1], packed[:, 1::2, 1] = 90, 200
    return packed.tobytes(), luma


class Running:
    """A source read on a thread."""

    def __init__(self, camera: Camera, config: CaptureConfig = QUICK) -> None:
        self.watcher, self.pools, self.frames = Watcher(), Pools(8), list[Kept]()
        self.source = V4l2Source(camera.path, config, self.pools, self.watcher, SystemClock())
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        for raw in self.source.frames():
            self.frames.append(keep(raw))

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self._thread.join(2)
        assert not self._thread.is_alive()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, (self.watcher.errors, self.watcher.drops, len(self.frames))
            time.sleep(0.005)

    def first_error(self) -> CaptureError:
        self.until(lambda: bool(self.watcher.errors))
        error = self.watcher.errors[0][0]
        assert isinstance(error, CaptureError)
        return error


@pytest.mark.parametrize("padding", [0, 16])
def test_yuyv_arrives_in_one_copy_with_the_drivers_time(
    make_camera: Callable[..., Camera], padding: int
) -> None:
    camera = make_camera(padding=padding)
    times = [5_000_000, 5_033_333, 5_066_667, 5_166_667, 5_200_000, 5_233_333]
    with Running(camera) as running:
        for number, at_us in enumerate(times):
            data = np.frombuffer(yuyv(number)[0], np.uint8).reshape(HEIGHT, -1)
            camera.send(np.pad(data, ((0, 0), (0, padding))).tobytes(), at_us=at_us)
        running.until(lambda: len(running.frames) == len(times))
    assert [f.info.pts for f in running.frames] == times
    assert [f.info.sequence for f in running.frames] == list(range(len(times)))
    for number, frame in enumerate(running.frames):
        assert np.array_equal(frame.luma, yuyv(number)[1])
        assert (frame.u == 90).all()
        assert (frame.v == 200).all()
    assert running.source.intake.copier.full_size_copies == len(times)


def test_nv12_arrives(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera(formats=("NV12",))
    luma = yuyv(7)[1]
    chroma = np.empty((HEIGHT // 2, WIDTH), np.uint8)
    chroma[:, 0::2], chroma[:, 1::2] = 70, 210
    with Running(camera) as running:
        camera.send(luma.tobytes() + chroma.tobytes(), at_us=1)
        running.until(lambda: len(running.frames) == 1)
    frame = running.frames[0]
    assert np.array_equal(frame.luma, luma)
    assert (frame.u == 70).all()
    assert (frame.v == 210).all()


def jpegs() -> list[bytes]:
    return encode_packets(Clip(320, 240, frames=4, codec="mjpeg", pixel_format="yuvj422p"))


def test_mjpeg_arrives_and_torn_pictures_do_not(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera(formats=("MJPG",), size=(320, 240))
    with Running(camera) as running:
        for index, data in enumerate(jpegs()):
            camera.send(data if index != 2 else data[: len(data) // 2], at_us=1000 * (index + 1))
        running.until(lambda: len(running.frames) == 3)
    assert [number_of(f.luma) for f in running.frames] == [0, 1, 3]
    assert running.watcher.drops == {DropReason.DECODE_ERROR: 1}
    assert running.frames[0].info.color.full_range


def test_mjpeg_larger_than_it_says_is_refused(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera(formats=("MJPG",), size=(160, 120))
    with Running(camera, QUICK.model_copy(update={"max_width": 200, "max_height": 200})) as running:
        camera.send(jpegs()[0], at_us=1)
        assert isinstance(running.first_error(), FrameTooLargeError)
    assert running.pools.made == {}


def test_broken_and_short_buffers_are_counted(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera()
    with Running(camera) as running:
        camera.send(yuyv(0)[0], at_us=1, flags=int(linux_v4l2.BufferFlag.ERROR))
        camera.send(yuyv(1)[0][:100], at_us=2)
        camera.send(yuyv(2)[0], at_us=3)
        running.until(lambda: len(running.frames) == 1)
    assert running.watcher.drops == {DropReason.DECODE_ERROR: 2}


def test_size_rate_and_format_are_asked_for(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera(formats=("YUYV", "MJPG", "NV12"))
    config = QUICK.model_copy(update={"width": 32, "height": 24, "frame_rate": 15.0, "pixel_format": "yuyv"})
    with Running(camera, config) as running:
        camera.send(bytes(32 * 24 * 2), at_us=1)
        running.until(lambda: len(running.frames) == 1)
    assert (camera.fourcc, camera.size, camera.rate) == ("YUYV", (32, 24), 15.0)
    assert running.watcher.sizes == [(32, 24)]


def test_too_large_a_size_is_refused_before_buffers_are_asked_for(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera(size=(1920, 1080))
    with Running(camera, QUICK.model_copy(update={"max_width": 1280, "max_height": 720})) as running:
        assert isinstance(running.first_error(), FrameTooLargeError)
    assert int(IOC.REQBUFS) not in camera.asked


def test_own_clock_where_the_driver_has_none(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera(clock_flags=0)
    before = time.monotonic_ns() // 1000
    with Running(camera) as running:
        camera.send(yuyv(0)[0], at_us=17)
        running.until(lambda: len(running.frames) == 1)
    assert before <= running.frames[0].info.pts <= time.monotonic_ns() // 1000


def test_a_pulled_plug_comes_back(make_camera: Callable[..., Camera]) -> None:
    camera = make_camera()
    with Running(camera) as running:
        camera.send(yuyv(0)[0], at_us=1)
        running.until(lambda: len(running.frames) == 1)
        camera.unplug()
        assert "is gone" in str(running.first_error())
        camera.plug_in()
        camera.send(yuyv(1)[0], at_us=2)
        running.until(lambda: len(running.frames) == 2)
    assert [(f.info.sequence, f.info.epoch) for f in running.frames] == [(0, 0), (1, 1)]


def test_a_silent_device_is_noticed(make_camera: Callable[..., Camera]) -> None:
    with Running(make_camera()) as running:
        assert isinstance(running.first_error(), StreamStalledError)


@pytest.mark.parametrize(
    ("request_name", "number", "words"),
    [
        ("S_FMT", errno.EBUSY, "in use"),
        ("REQBUFS", errno.EBUSY, "in use"),
        ("STREAMON", errno.EIO, "cable"),
        ("QUERYCAP", errno.ENOTTY, "not a camera"),
        ("DQBUF", errno.EPROTO, "fails"),
    ],
)
def test_each_error_says_what_to_do(
    make_camera: Callable[..., Camera], request_name: str, number: int, words: str
) -> None:
    camera = make_camera(errors={int(getattr(IOC, request_name)): number})
    with Running(camera) as running:
        if request_name == "DQBUF":
            running.until(lambda: int(IOC.STREAMON) in camera.asked)
            camera.send(yuyv(0)[0], at_us=1)
        error = running.first_error()
    assert words in str(error)
    assert error.hint


def test_no_permission_names_the_group(
    make_camera: Callable[..., Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = make_camera()

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("veil.capture.v4l2_device.os", _Os(refuse))
    with Running(camera) as running:
        assert "group video" in running.first_error().hint


class _Os:
    """`os` with another `open`."""

    def __init__(self, opener: Callable[..., int]) -> None:
        self.open = opener

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


def test_a_metadata_node_is_refused(make_camera: Callable[..., Camera]) -> None:
    with Running(make_camera(capabilities=0x84A00000)) as running:
        assert "does not capture video" in str(running.first_error())


@pytest.mark.parametrize(
    ("offered", "wanted", "size", "chosen"),
    [
        (["YUYV", "MJPG"], "auto", (640, 480), "YUYV"),
        (["YUYV", "MJPG"], "auto", (1920, 1080), "MJPG"),
        (["YUYV", "MJPG", "NV12"], "auto", (1920, 1080), "NV12"),
        (["YUYV"], "auto", (1920, 1080), "YUYV"),
        (["YUYV", "MJPG"], "mjpeg", (64, 64), "MJPG"),
    ],
)
def test_format_that_fits_is_chosen(
    offered: list[str], wanted: str, size: tuple[int, int], chosen: str
) -> None:
    assert choose_format(offered, wanted, *size) == chosen


def test_no_usable_format_lists_what_there_is() -> None:
    with pytest.raises(CaptureError, match="GREY, H264"):
        choose_format(["GREY", "H264"], "auto", 640, 480)


def _vivid() -> Path | None:
    for name in sorted(Path("/sys/class/video4linux").glob("video*/name")):
        if "vivid" in name.read_text() and "vid-cap" in name.read_text():
            return Path("/dev") / name.parent.name
    return None


@pytest.mark.skipif(_vivid() is None, reason="needs the kernel's vivid driver (modprobe vivid)")
@pytest.mark.parametrize("pixel_format", ["yuyv", "nv12", "auto"])
def test_vivid_sends_pictures(pixel_format: str) -> None:
    path = _vivid()
    assert path is not None
    config = CaptureConfig(width=640, height=360, pixel_format=pixel_format)  # type: ignore[arg-type]
    source = V4l2Source(path, config, Pools(), Watcher(), SystemClock())
    frames = collect(source, 5)
    assert all((f.info.width, f.info.height) == (640, 360) for f in frames)
    assert all(f.luma.std() > 10 for f in frames)
    assert [f.info.sequence for f in frames] == list(range(5))
