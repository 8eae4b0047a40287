"""A file system that really is full: what is closed plays, and with space recording goes on by itself."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from masked_media import Camera
from veil.config import EncoderConfig, RecorderConfig
from veil.domain.clock import SystemClock
from veil.errors import DiskFullError, SinkError
from veil.sinks.recorder import Recorder, RecorderState, SegmentClosed, SegmentEnd


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two mebibytes of their own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("may not mount here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("reserve_mib", [0.0, 0.5])
def test_a_full_disk_stops_recording_and_space_starts_it_again(
    small_disk: Path, reserve_mib: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veil.sinks.recorder._LOOK_AGAIN_NS", 0)
    monkeypatch.setattr("veil.sinks.recorder._LEAST_ROOM", 1 << 18)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(900 << 10))
    closed: list[SegmentClosed] = []
    recorder = Recorder(
        RecorderConfig(segment_s=3, min_free_mib=reserve_mib),
        camera="front",
        directory=small_disk / "recordings",
        clock=SystemClock(),
        on_segment=closed.append,
        on_set_aside=lambda aside: pytest.fail(f"set aside: {aside}"),
    )
    packets = Camera(640, 360, frame_rate=10).packets(
        10_000, EncoderConfig(preset="ultrafast", bit_rate=1_000_000, keyframe_interval_s=1)
    )
    raised: list[SinkError] = []
    with recorder:
        while recorder.state is not RecorderState.DISK_FULL:
            try:
                recorder.write(next(packets))
            except SinkError as error:
                raised.append(error)
        for _ in range(30):
            recorder.write(next(packets))
        assert recorder.state is RecorderState.DISK_FULL
        before = len(closed)
        ballast.unlink()
        for _ in range(45):
            recorder.write(next(packets))
        assert recorder.state is RecorderState.RECORDING
    assert [type(error) for error in raised] == [DiskFullError]
    assert closed[before - 1].end is SegmentEnd.DISK_FULL
    assert len(closed) > before
    for segment in closed:
        assert pictures(segment.path) == segment.frames > 0
        assert hashlib.sha256(segment.path.read_bytes()).hexdigest() == segment.sha256
    assert sorted(path.name for path in (small_disk / "recordings").iterdir()) == [
        segment.path.name for segment in closed
    ]
