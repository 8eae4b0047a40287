"""The RTSP server with real clients: ffprobe and ffmpeg over TCP and UDP, and some that misbehave."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from masked_media import Camera
from rtsp_house import CameraProcess, Server, Streaming, gi_is_missing, wait_for
from veil.config import EncoderConfig
from veil.domain.cover import Reason
from veil.frames.masked import MaskedFrame

pytestmark = pytest.mark.skipif(gi_is_missing(), reason="needs python3-gi and gir1.2-gst-rtsp-server-1.0")

SLATE_LUMA = 45  # below: the slate's dark grey; above: the test camera's picture


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


def times_of(shown: list[dict[str, str]]) -> list[float]:
    """Media times; ffmpeg gives none to the first picture of an RTSP stream."""
    return [float(frame["pts_time"]) for frame in shown[1:]]


def frames(url: str, count: int, transport: str = "tcp") -> list[dict[str, str]]:
    """The first frames that ffprobe decodes; fails on any complaint."""
    command = ["ffprobe", "-v", "error", "-rtsp_transport", transport, "-select_streams", "v"]
    command += ["-read_intervals", f"%+#{count}", "-show_frames", "-of", "json", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stderr == ""
    found: list[dict[str, str]] = json.loads(done.stdout)["frames"]
    return found


class Watcher:
    """A client that remembers brightness and time of each picture."""

    def __init__(self, url: str, transport: str = "tcp") -> None:
        self._container = av.open(
            url, options={"rtsp_transport": transport, "analyzeduration": "500000"}, timeout=10
        )
        self._frames = self._container.decode(video=0)

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def next(self) -> tuple[bool, float]:
        """Whether the next picture is a slate, and its media time in seconds."""
        frame = next(self._frames)
        luma = np.median(frame.to_ndarray()[: frame.height])
        return bool(luma < SLATE_LUMA), frame.time or 0.0

    def until(self, *, slate: bool) -> tuple[float, float]:
        """Media times of the last picture of the other kind, and of the first of this kind."""
        last = None
        for _ in range(400):
            is_slate, at = self.next()
            if is_slate is slate:
                return at if last is None else last, at
            last = at
        raise AssertionError("it did not come")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_late_client_starts_at_a_keyframe_and_decodes_without_a_complaint(
    server: Server, transport: str
) -> None:
    with Streaming(server):
        time.sleep(0.3)
        for _ in range(2):
            seen = frames(server.url(), 20, transport)
            assert len(seen) >= 20
            assert seen[0]["key_frame"] == 1
            assert (seen[0]["width"], seen[0]["height"]) == (320, 180)
            times = times_of(seen)
            assert times == sorted(times)


def test_ffmpeg_reads_many_streams_at_once(server: Server) -> None:
    with Streaming(server), Streaming(server, name="back", camera=Camera(640, 360)):
        clients = []
        for name in ("front", "back"):
            for transport in ("tcp", "udp", "tcp"):
                command = ["ffmpeg", "-v", "error", "-xerror", "-rtsp_transport", transport]
                command += ["-i", server.url(name), "-frames:v", "30", "-f", "null", "-"]
                clients.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        for client in clients:
            _, complaints = client.communicate(timeout=20)
            assert (client.returncode, complaints) == (0, "")


def test_times_are_the_cameras(server: Server) -> None:
    with Streaming(server):
        times = times_of(frames(server.url(), 40))
    steps = np.diff(times)
    assert np.abs(steps - 1 / 30).max() < 0.002


def test_before_a_camera_came_there_is_nothing(server: Server) -> None:
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-rtsp_transport", "tcp", server.url("nobody")],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode != 0
    assert "404" in done.stderr


def test_a_killed_camera_gives_a_slate_within_a_second_and_comes_back_live(server: Server) -> None:
    with CameraProcess(server) as camera, Watcher(server.url()) as watcher:
        assert watcher.until(slate=False)
        camera.signal(signal.SIGKILL)
        before, after = watcher.until(slate=True)
        assert after - before <= 1.0
        with CameraProcess(server):
            before, after = watcher.until(slate=False)
            assert after > before


def test_a_hanging_camera_gives_a_slate_within_a_second_and_comes_back_live(server: Server) -> None:
    with CameraProcess(server) as camera, Watcher(server.url()) as watcher:
        watcher.until(slate=False)
        camera.signal(signal.SIGSTOP)
        before, after = watcher.until(slate=True)
        assert after - before <= 1.0
        slates = [watcher.next() for _ in range(3)]
        assert all(is_slate for is_slate, _ in slates)
        camera.signal(signal.SIGCONT)
        watcher.until(slate=False)


def test_a_client_of_a_dead_camera_sees_the_slate(server: Server) -> None:
    with CameraProcess(server) as camera:
        camera.signal(signal.SIGKILL)
    with Watcher(server.url()) as watcher:
        assert [watcher.next()[0] for _ in range(3)] == [True] * 3


def test_the_camera_finds_a_restarted_server(server: Server) -> None:
    with Streaming(server):
        frames(server.url(), 5)
        server.stop(signal.SIGKILL)
        server.start()
        wait_for(lambda: bool(server.stats()["cameras"]), "the camera")
        assert frames(server.url(), 10)[0]["key_frame"] == 1


class Noise(Camera):
    """Pictures that need all of the bit rate."""

    def frame(self, *, pts: int | None = None, whole: Reason | None = None) -> MaskedFrame:
        frame = super().frame(pts=pts, whole=whole)
        frame.planes.y[...] = np.random.default_rng(frame.info.sequence).integers(
            0, 255, frame.planes.y.shape, np.uint8
        )
        return frame


class RawClient:
    """Plays with a small window and reads nothing but what it is asked to."""

    def __init__(self, server: Server, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(5)
        self._socket.connect(("127.0.0.1", server.port))
        self._url = server.url()
        self._say(f"DESCRIBE {self._url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n")
        said = self._say(f"SETUP {self._url}/stream=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: {transport}\r\n\r\n")
        session = re.search(rb"Session: *([^;\r]+)", said)
        assert session is not None
        self._session = session[1].decode()
        self._say(f"PLAY {self._url} RTSP/1.0\r\nCSeq: 3\r\nSession: {self._session}\r\n\r\n")

    def _say(self, request: str) -> bytes:
        self._socket.sendall(request.encode())
        answer = self._socket.recv(4096)
        assert b"200 OK" in answer
        return answer

    def read(self, size: int) -> None:
        while size > 0:
            size -= len(self._socket.recv(size))

    def tear_down(self) -> None:
        self._socket.sendall(
            f"TEARDOWN {self._url} RTSP/1.0\r\nCSeq: 4\r\nSession: {self._session}\r\n\r\n".encode()
        )

    def is_closed(self) -> bool:
        """Reads what is left; whether the server has closed."""
        self._socket.settimeout(0.2)
        try:
            while self._socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        self._socket.close()


def test_a_stalled_client_harms_nobody(server: Server) -> None:
    config = EncoderConfig(preset="ultrafast", bit_rate=16_000_000, keyframe_interval_s=1.0)
    with Streaming(server, camera=Noise(1280, 720), config=config):
        stalled = RawClient(server)
        seen = frames(server.url(), 150)
        stalled.close()
    times = times_of(seen)
    assert len(times) >= 149
    assert max(np.diff(times)) < 0.1, "the other client lost nothing"


@pytest.mark.slow
def test_a_client_that_stalls_for_long_is_disconnected(server: Server) -> None:
    config = EncoderConfig(preset="ultrafast", bit_rate=16_000_000, keyframe_interval_s=1.0)
    with Streaming(server, camera=Noise(1280, 720), config=config):
        stalled = RawClient(server)
        wait_for(lambda: server.stats()["dropped"] > 0, "a drop", 30)
        wait_for(lambda: server.stats()["pipelines"] == 0, "the disconnection", 30)
        assert stalled.is_closed()
        stalled.close()


def test_pipelines_do_not_leak(server: Server) -> None:
    def size() -> tuple[int, int]:
        process = Path(f"/proc/{server.pid}")
        return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))

    def visit(index: int) -> None:
        if index % 3 == 0:
            client = RawClient(server, "RTP/AVP/UDP;unicast;client_port=45000-45001")
        else:
            client = RawClient(server)
            client.read(5000)
        if index % 2:
            client.tear_down()
        client.close()

    def connect(count: int) -> None:
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(visit, range(count)))

    with Streaming(server):
        connect(5)
        wait_for(lambda: server.stats()["pipelines"] == 0, "the first clients to go")
        time.sleep(1)
        before = size()
        connect(50)
        wait_for(lambda: server.stats()["pipelines"] == 0, "all clients to go")
        wait_for(lambda: size() <= (before[0] + 3, before[1] + 3), f"{size()} to come back to {before}")


def test_a_new_size_ends_the_old_stream_and_serves_the_new_one(server: Server) -> None:
    with Streaming(server):
        assert frames(server.url(), 3)[0]["width"] == 320
    with Streaming(server, camera=Camera(640, 360, epoch=1)):
        assert frames(server.url(), 3)[0]["width"] == 640


def test_a_second_server_does_not_take_the_socket_of_a_living_one(server: Server) -> None:
    second = Server(server.socket.parent)
    with pytest.raises(AssertionError, match="did not start"):
        second.start()
    assert second.stop(signal.SIGTERM) == 7
    assert server.stats()["cameras"] == {}


def test_garbage_at_the_socket_disconnects_only_whoever_sent_it(server: Server) -> None:
    with Streaming(server):
        with socket.socket(socket.AF_UNIX) as bad:
            bad.connect(str(server.socket))
            bad.sendall(b"\xff" * 100)
            bad.settimeout(5)
            assert bad.recv(10) == b""
        assert len(frames(server.url(), 5)) >= 5


def test_the_socket_is_closed_to_others_and_gone_after_a_clean_stop(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    assert server.socket.stat().st_mode & 0o777 == 0o660
    assert server.stop(signal.SIGTERM) == 0
    assert not server.socket.exists()
