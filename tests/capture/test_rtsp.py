"""RTSP against a real server: codecs, transports, and what happens when the camera misbehaves."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from capture.parts import Kept, Pools, Watcher, keep
from media import Clip, number_of
from rtsp_server import is_available, serve
from veil.capture.live import AccessRefusedError
from veil.capture.rtsp import RtspSource
from veil.capture.source import DropReason
from veil.config import CameraConfig, CaptureConfig
from veil.config_secrets import with_password
from veil.domain.clock import SystemClock
from veil.errors import CaptureError, FrameTooLargeError, StreamStalledError

pytestmark = pytest.mark.skipif(not is_available(), reason="needs gst-rtsp-server and python3-gi")

SMALL = Clip(frames=60, keyframe_interval=10)
QUICK = CaptureConfig(reconnect_min_s=0.05, reconnect_max_s=0.2, stall_timeout_s=1.0, connect_timeout_s=2.0)
# A busy machine may keep a server from sending for a second, which ends a connection of the quick kind: the
# clip begins anew, and numbers are not those of one connection.
PATIENT = QUICK.model_copy(update={"stall_timeout_s": 5.0, "connect_timeout_s": 10.0})


class Running:
    """A source read on a thread of its own, as the pipeline does."""

    def __init__(self, address: str, config: CaptureConfig = QUICK, slots: int = 8) -> None:
        self.watcher, self.pools = Watcher(), Pools(slots)
        self.source = RtspSource(address, config, self.pools, self.watcher, SystemClock())
        self.frames: list[Kept] = []
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        try:
            for raw in self.source.frames():
                self.frames.append(keep(raw))
        except BaseException as failure:  # noqa: BLE001  shown by the test
            self.failure = failure

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()
        self._thread.join(2)
        assert not self._thread.is_alive(), "close() did not end frames()"

    def until(self, condition: Callable[[], bool], timeout_s: float = 20) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.failure is None, self.failure
            assert time.monotonic() < deadline, (self.watcher.errors, self.watcher.drops, len(self.frames))
            time.sleep(0.02)

    def until_frames(self, count: int) -> None:
        self.until(lambda: len(self.frames) >= count)

    def first_error(self) -> CaptureError:
        self.until(lambda: bool(self.watcher.errors))
        error = self.watcher.errors[0][0]
        assert isinstance(error, CaptureError)
        return error


def rising(frames: list[Kept]) -> bool:
    """Sequence without a gap; timestamps rising strictly within each epoch."""
    return all(
        b.info.sequence == a.info.sequence + 1
        and (b.info.pts > a.info.pts if a.info.epoch == b.info.epoch else b.info.epoch == a.info.epoch + 1)
        for a, b in pairwise(frames)
    )


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_pictures_come_through(codec: str, transport: str) -> None:
    clip = Clip(
        frames=60,
        keyframe_interval=10,
        codec=codec,
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
    )
    config = PATIENT.model_copy(update={"transport": transport})
    with serve(clip, transport=transport) as server, Running(server.address, config) as running:
        running.until_frames(20)
    numbers = [number_of(f.luma) for f in running.frames]
    assert numbers == [(numbers[0] + i) % 60 for i in range(len(numbers))]
    assert rising(running.frames)
    assert running.watcher.sizes == [(320, 240)]
    assert running.frames[0].info.color.full_range == (codec == "mjpeg")


def test_samples_that_are_not_square_are_told() -> None:
    clip = Clip(frames=20, options=(("x264-params", "sar=16/15"),))
    with serve(clip) as server, Running(server.address) as running:
        running.until_frames(5)
    assert {frame.info.color.aspect for frame in running.frames} == {(16, 15)}


def test_one_copy_per_picture() -> None:
    with serve(SMALL) as server, Running(server.address) as running:
        running.until_frames(10)
    assert running.source.intake.copier.full_size_copies == len(running.frames)


def test_a_stream_that_falls_silent_is_noticed_and_comes_back() -> None:
    with serve(SMALL) as server, Running(server.address) as running:
        running.until_frames(5)
        server.stall()
        assert isinstance(running.first_error(), StreamStalledError)
        count = len(running.frames)
        server.resume()
        running.until_frames(count + 10)
    assert rising(running.frames)
    assert running.frames[-1].info.epoch >= 1


def test_a_stream_that_answers_and_sends_nothing_is_noticed() -> None:
    with serve(SMALL) as server:
        server.mute_new_clients()
        with Running(server.address) as running:
            assert isinstance(running.first_error(), StreamStalledError)
            server.resume()
            running.until_frames(5)


def test_a_stopped_host_is_noticed() -> None:
    with serve(SMALL) as server, Running(server.address) as running:
        running.until_frames(5)
        server.freeze()
        assert isinstance(running.first_error(), StreamStalledError)
        running.until(lambda: len(running.watcher.errors) >= 2)
        assert not isinstance(running.watcher.errors[1][0], StreamStalledError)


def test_a_cut_connection_comes_back() -> None:
    with serve(SMALL) as server, Running(server.address) as running:
        running.until_frames(5)
        server.cut()
        running.first_error()
        count = len(running.frames)
        running.until_frames(count + 10)
    assert rising(running.frames)
    assert {f.info.epoch for f in running.frames} == {0, 1}


def test_a_killed_camera_comes_back_at_a_keyframe() -> None:
    with serve(SMALL) as server, Running(server.address) as running:
        running.until_frames(5)
        server.kill()
        running.first_error()
        count = len(running.frames)
        with serve(SMALL, port=server.port):
            running.until_frames(count + 10)
    assert rising(running.frames)
    assert number_of(running.frames[count].luma) % 10 == 0


def test_nobody_listens_is_a_clear_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with Running(f"rtsp://127.0.0.1:{free.getsockname()[1]}/cam") as running:
            assert "refuses the connection" in str(running.first_error())


def test_a_dead_host_is_a_clear_error() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        with Running(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam") as running:
            error = running.first_error()
            assert "does not answer" in str(error)
            assert error.hint


def test_a_missing_stream_is_a_clear_error() -> None:
    with serve(SMALL) as server, Running(server.address + "-none") as running:
        assert "no such stream" in str(running.first_error())


def test_a_camera_that_sends_sound_alone_is_a_clear_error() -> None:
    with serve(SMALL, tracks="audio") as server, Running(server.address) as running:
        error = running.first_error()
        assert "no video" in error.message
        assert "4XX" not in error.message
        assert error.hint


def test_size_change_in_mid_stream_starts_an_epoch() -> None:
    with (
        serve(SMALL, Clip(480, 360, frames=60, keyframe_interval=10)) as server,
        Running(server.address) as running,
    ):
        running.until_frames(5)
        server.switch(1)
        running.until(lambda: (480, 360) in running.watcher.sizes)
        count = len(running.frames)
        running.until_frames(count + 5)
    assert rising(running.frames)
    assert running.watcher.errors == []
    assert {(f.info.width, f.info.epoch) for f in running.frames} == {(320, 0), (480, 1)}


@pytest.mark.parametrize(("width", "height"), [(640, 480), (512, 64)])
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_too_large_pictures_are_refused(codec: str, width: int, height: int) -> None:
    config = QUICK.model_copy(update={"max_width": 400, "max_height": 300})
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = Clip(width, height, frames=20, codec=codec, keyframe_interval=5, pixel_format=pixel_format)
    with serve(clip) as server, Running(server.address, config) as running:
        assert isinstance(running.first_error(), FrameTooLargeError)
        assert f"{width}x{height}" in str(running.first_error())
    assert running.frames == []
    assert running.pools.made == {}


def test_too_large_pictures_in_mid_stream_are_refused() -> None:
    config = QUICK.model_copy(update={"max_width": 400, "max_height": 300})
    with (
        serve(SMALL, Clip(640, 480, frames=30, keyframe_interval=5)) as server,
        Running(server.address, config) as running,
    ):
        running.until_frames(5)
        server.switch(1)
        assert isinstance(running.first_error(), FrameTooLargeError)
        server.switch(0)
        count = len(running.frames)
        running.until_frames(count + 5)
    assert set(running.pools.made) == {(320, 240)}
    assert rising(running.frames)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_after_broken_packets_it_goes_on_at_a_keyframe(codec: str) -> None:
    clip = Clip(frames=60, keyframe_interval=15, codec=codec)
    with serve(clip) as server, Running(server.address, PATIENT) as running:
        running.until_frames(5)
        server.break_pictures(3)
        running.until(lambda: running.watcher.drops[DropReason.DECODE_ERROR] > 0)
        count = len(running.frames)
        running.until_frames(count + 20)
    numbers = [number_of(f.luma) for f in running.frames]
    gaps = [b for a, b in pairwise(numbers) if b != (a + 1) % 60]
    assert gaps
    assert all(number % 15 == 0 for number in gaps)
    assert running.watcher.errors == []
    assert rising(running.frames)


def test_pictures_nobody_takes_are_dropped_and_counted() -> None:
    with serve(SMALL) as server:
        watcher, pools = Watcher(), Pools(2)
        source = RtspSource(server.address, QUICK, pools, watcher, SystemClock())
        frames = source.frames()
        held = [next(frames), next(frames)]
        reader = threading.Thread(target=lambda: held.append(next(frames)))
        reader.start()
        deadline = time.monotonic() + 10
        while watcher.drops[DropReason.NO_SLOT] < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert watcher.drops[DropReason.NO_SLOT] >= 3
        held[0].release()
        reader.join(5)
        source.close()
        assert [raw.info.sequence for raw in held] == [0, 1, 2]


SECRET = "s3cr3t:/@?#%"


@pytest.fixture
def spoken(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Everything that was logged or printed so far."""
    caplog.set_level(logging.DEBUG)

    def read() -> str:
        out, err = capfd.readouterr()
        return caplog.text + out + err

    return read


def traces_of(error: BaseException | None) -> str:
    """All that an exception and those attached to it could print."""
    text = ""
    while error is not None:
        text += f"{error} {error!r} {error.args} {vars(error)}"
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("auth", ["basic", "digest"])
@pytest.mark.parametrize("where", ["file", "config", "address"])
def test_credentials_work_from_everywhere(tmp_path: Path, auth: str, where: str) -> None:
    with serve(SMALL, user="us er", password=SECRET, auth=auth) as server:
        address, config = server.address, QUICK
        if where == "file":
            (tmp_path / "password").write_text(SECRET + "\n")
            own = CaptureConfig(
                **{**QUICK.model_dump(), "user": "us er", "password_file": tmp_path / "password"}
            )
            config = with_password(CameraConfig(name="cam", source=address, capture=own), {}).capture
        elif where == "config":
            config = CaptureConfig(**{**QUICK.model_dump(), "user": "us er", "password": SECRET})
        else:
            address = address.replace("rtsp://", "rtsp://us%20er:s3cr3t%3A%2F%40%3F%23%25@")
        with Running(address, config) as running:
            running.until_frames(2)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_wrong_password_is_said_without_any_credential(auth: str, spoken: Callable[[], str]) -> None:
    config = CaptureConfig(**{**QUICK.model_dump(), "user": "operator7", "password": SECRET})
    with (
        serve(SMALL, user="operator7", password="another", auth=auth) as server,
        Running(server.address, config) as running,
    ):
        error = running.first_error()
        assert isinstance(error, AccessRefusedError)
        text = traces_of(error) + repr(running.source) + repr(config) + spoken()
    for secret in (SECRET, "s3cr3t", "operator7"):
        assert secret not in text.replace(repr(config), "")
    assert "s3cr3t" not in text


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_no_failure_shows_a_credential(transport: str, spoken: Callable[[], str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"rtsp://operator7:s3cr3t@127.0.0.1:{free.getsockname()[1]}/cam?token=s3cr3t"
        config = QUICK.model_copy(update={"transport": transport})
        with Running(address, config) as running:
            text = traces_of(running.first_error()) + repr(running.source) + repr(running.source.address)
            text += str(running.source.address) + spoken()
    assert "s3cr3t" not in text
    assert "operator7" not in text
