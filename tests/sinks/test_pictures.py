"""Stills, snapshots and the preview page: right colours, visible size, no metadata, never a torn file."""

from __future__ import annotations

import io
import socket
import threading
import time
import urllib.error
import urllib.request
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from masked_media import Camera
from veil.config import PreviewConfig
from veil.domain.clock import SystemClock
from veil.domain.cover import Reason
from veil.errors import SinkError, UsageError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import ColorInfo
from veil.sinks.preview import CameraView, PreviewPage
from veil.sinks.snapshot import SnapshotSink
from veil.sinks.still import FORMATS, encode_still, write_still

# H.273 numbers and the names that ffmpeg has for them.
MATRICES = {1: "bt709", 6: "smpte170m", 9: "bt2020nc"}


def flat(color: ColorInfo, y: int, u: int, v: int) -> MaskedFrame:
    frame = Camera(64, 48, color=color).frame()
    for plane, value in zip(frame.planes, (y, u, v), strict=True):
        plane[...] = value
    return frame


def shown(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("yuv", [(81, 90, 240), (145, 54, 34), (41, 240, 110), (180, 128, 128)])
def test_colours_are_those_that_ffmpeg_shows(
    matrix: int, full_range: bool, yuv: tuple[int, int, int]
) -> None:
    ours = shown(encode_still(flat(ColorInfo(full_range, matrix, matrix, matrix), *yuv), ".png"))
    frame = av.VideoFrame(64, 48, "yuv444p")
    for plane, value in zip(frame.planes, yuv, strict=True):
        np.frombuffer(plane, np.uint8)[:] = value
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=64, height=48, format="yuv444p", time_base=Fraction(1, 25))
    scale = graph.add(
        "scale",
        f"in_color_matrix={MATRICES[matrix]}:in_range={'full' if full_range else 'limited'}"
        ":flags=accurate_rnd+full_chroma_int",
    )
    form = graph.add("format", "rgb24")
    sink = graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(form)
    form.link_to(sink)
    graph.configure()
    source.push(frame)
    theirs = sink.pull().to_ndarray().astype(int)
    assert np.abs(ours - theirs).max() <= 3


@pytest.mark.parametrize(("level", "expected"), [(16, 0), (235, 255), (126, 128)])
def test_limited_range_becomes_full_in_jpeg(level: int, expected: int) -> None:
    pixels = shown(encode_still(flat(ColorInfo(), level, 128, 128), ".jpg"))
    assert np.abs(pixels - expected).max() <= 1


def test_jpeg_levels_stay_as_they_are() -> None:
    for level in (0, 16, 128, 255):
        pixels = shown(encode_still(flat(ColorInfo(full_range=True), level, 128, 128), ".jpg"))
        assert np.abs(pixels - level).max() <= 1


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_has_the_visible_size_and_no_metadata(suffix: str, tmp_path: Path) -> None:
    frame = Camera(321, 601).frame()
    path = tmp_path / f"out{suffix}"
    write_still(frame, path)
    with Image.open(path) as picture:
        assert picture.size == (321, 601)
        assert not picture.getexif() or suffix.startswith(".tif")
        assert not {"exif", "icc_profile", "xmp", "comment", "photoshop", "Software"} & set(picture.info)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    expected = shown(encode_still(frame, ".png"))
    assert np.abs(pixels - expected).mean() < 4
    assert list(tmp_path.iterdir()) == [path]


def test_bands_leave_no_seam() -> None:
    camera = Camera(64, 700)
    frame = camera.frame()
    rng = np.random.default_rng(1)
    frame.planes.u[...] = np.linspace(60, 200, 350).astype(np.uint8)[:, None]
    frame.planes.v[...] = rng.integers(110, 140, (1, 32), np.uint8)
    frame.planes.y[...] = 120
    pixels = shown(encode_still(frame, ".png"))
    assert np.abs(np.diff(pixels, axis=0)).max() <= 3


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_still(Camera().frame(), tmp_path / "out.heic")
    with pytest.raises(SinkError):
        write_still(Camera().frame(), tmp_path / "missing" / "out.jpg")


def test_a_snapshot_is_small_fresh_and_never_torn(tmp_path: Path) -> None:
    path = tmp_path / "cameras" / "front" / "snapshot.jpg"
    camera = Camera(1281, 721)
    torn: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if path.exists():
                try:
                    Image.open(io.BytesIO(path.read_bytes())).load()
                except OSError as error:
                    torn.append(error)

    reader = threading.Thread(target=read)
    with SnapshotSink(PreviewConfig(interval_s=0.2, max_width=640), path, SystemClock()) as sink:
        reader.start()
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            with camera.frame() as frame:
                sink.offer(frame)
            time.sleep(0.01)
    done.set()
    reader.join()
    assert torn == []
    assert 2 <= sink.written <= 7
    with Image.open(path) as picture:
        assert picture.size == (640, 360)
        assert not picture.getexif()
    assert list(path.parent.iterdir()) == [path]


def test_a_snapshot_of_a_hidden_frame_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.jpg"
    with (
        SnapshotSink(PreviewConfig(), path, SystemClock()) as sink,
        Camera().frame(whole=Reason.STARTING) as f,
    ):
        sink.offer(f)
    pixels = np.asarray(Image.open(path))
    assert pixels.max() - pixels.min() <= 1


def test_a_full_disk_costs_a_snapshot_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.jpg"
    path.mkdir()
    with SnapshotSink(PreviewConfig(), path, SystemClock()) as sink, Camera().frame() as frame:
        sink.offer(frame)
    assert (sink.written, sink.failed) == (0, 1)


def get(url: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  our own page
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, "", b""


def test_the_page_shows_the_cameras_and_no_other_file(tmp_path: Path) -> None:
    write_still(Camera().frame(), tmp_path / "front.jpg")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    cameras = {
        "front": CameraView(tmp_path / "front.jpg", "rtsp://box:8554/front", "/var/lib/veil/<recordings>"),
        "back": CameraView(tmp_path / "back.jpg", "rtsp://box:8554/back", ""),
    }
    with PreviewPage(cameras, address="127.0.0.1", port=0) as page:
        status, kind, content = get(page.url)
        text = content.decode()
        assert (status, kind) == (200, "text/html; charset=utf-8")
        assert "rtsp://box:8554/front" in text
        assert "&lt;recordings&gt;" in text
        assert "No picture yet." in text
        assert 'http-equiv="refresh"' in text
        assert get(f"{page.url}snapshot/front.jpg")[1:] == (
            "image/jpeg",
            (tmp_path / "front.jpg").read_bytes(),
        )
        for other in (
            "snapshot/back.jpg",
            "snapshot/secret.jpg",
            "snapshot/..%2fsecret.jpg",
            "front.jpg",
            "x",
        ):
            assert get(f"{page.url}{other}")[0] == 404


def test_a_taken_port_is_refused_with_a_hint() -> None:
    with PreviewPage({}, address="127.0.0.1", port=0) as page:
        port = int(page.url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(SinkError, match=r"page\.port"), PreviewPage({}, address="127.0.0.1", port=port):
            pass


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
def test_the_page_is_there_over_ipv6_too() -> None:
    with PreviewPage({}, address="::1", port=0) as page:
        assert page.url.startswith("http://[::1]:")
        assert get(page.url)[0] == 200
