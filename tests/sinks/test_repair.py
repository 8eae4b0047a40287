"""What repair does with torn files, for cuts and damage anywhere."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from masked_media import Camera
from veil.config import EncoderConfig, RecorderConfig
from veil.domain.clock import SystemClock
from veil.sinks.mp4_boxes import walk
from veil.sinks.recorder import Recorder
from veil.sinks.repair import Repaired, RepairOutcome, repair

NAME = "front-20260102T030405.678Z-000007.mp4.part"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file of five fragments with ten pictures each."""
    directory = tmp_path_factory.mktemp("whole")
    recorder = Recorder(
        RecorderConfig(segment_s=60, min_free_mib=0),
        camera="front",
        directory=directory,
        clock=SystemClock(),
        on_segment=lambda _: None,
        on_set_aside=lambda _: None,
    )
    config = EncoderConfig(preset="ultrafast", bit_rate=100_000)
    with recorder:
        for packet in Camera(frame_rate=10).packets(50, config):
            recorder.write(packet)
    (path,) = directory.iterdir()
    return path.read_bytes()


def repaired(directory: Path, content: bytes) -> Repaired:
    part = directory / NAME
    part.write_bytes(content)
    (result,) = repair(directory)
    assert not part.exists()
    return result


def ffmpeg_pictures(path: Path) -> int:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "framehash", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return sum(1 for line in done.stdout.splitlines() if not line.startswith("#"))


def test_a_torn_tail_is_cut_and_the_rest_plays(tmp_path: Path, recording: bytes) -> None:
    result = repaired(tmp_path, recording[:-5])
    assert result.outcome is RepairOutcome.RECOVERED
    assert result.path == tmp_path / NAME.removesuffix(".part")
    assert result.frames == ffmpeg_pictures(result.path) == 40
    assert result.duration_s == pytest.approx(4.0)
    content = result.path.read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (result.size, result.sha256)
    assert result.lost == len(recording) - 5 - result.size
    assert recording.startswith(content)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 1))
def test_any_cut_is_recovered_or_set_aside(
    tmp_path_factory: pytest.TempPathFactory, recording: bytes, share: float
) -> None:
    directory = tmp_path_factory.mktemp("cut")
    result = repaired(directory, recording[: int(share * len(recording))])
    assert result.path.exists()
    if result.outcome is RepairOutcome.RECOVERED:
        assert result.frames % 10 == 0
    else:
        assert result.path.parent.name == "set-aside"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1), length=st.integers(1, 5000), filler=st.sampled_from([0, 0xFF]))
@example(place=0.01171875, length=1, filler=0)  # in the codec's name
def test_damage_anywhere_never_ends_in_an_exception(
    tmp_path_factory: pytest.TempPathFactory, recording: bytes, place: float, length: int, filler: int
) -> None:
    damaged = bytearray(recording)
    start = int(place * (len(damaged) - 1))
    damaged[start : start + length] = bytes([filler]) * len(damaged[start : start + length])
    result = repaired(tmp_path_factory.mktemp("damage"), bytes(damaged))
    assert result.path.exists()


def test_a_page_of_zeros_at_the_end_is_not_taken_for_pictures(tmp_path: Path, recording: bytes) -> None:
    last = walk_bytes(tmp_path, recording)[-1]
    result = repaired(tmp_path, recording[: last + 700] + bytes(len(recording) - last - 700))
    assert result.frames == ffmpeg_pictures(result.path) == 40


def walk_bytes(directory: Path, content: bytes) -> list[int]:
    """Where each fragment begins."""
    path = directory / "walked"
    path.write_bytes(content)
    return [fragment.start for fragment in walk(path).fragments]


@pytest.mark.parametrize("content", [b"", b"junk" * 1000, bytes(5000)])
def test_what_cannot_be_read_is_set_aside_whole(tmp_path: Path, content: bytes) -> None:
    result = repaired(tmp_path, content)
    assert result.outcome is RepairOutcome.SET_ASIDE
    assert result.path.read_bytes() == content


def test_nothing_is_overwritten(tmp_path: Path, recording: bytes) -> None:
    closed = tmp_path / NAME.removesuffix(".part")
    closed.write_bytes(b"another")
    result = repaired(tmp_path, recording)
    assert result.outcome is RepairOutcome.RECOVERED
    assert result.path != closed
    assert closed.read_bytes() == b"another"
    (tmp_path / "set-aside").mkdir()
    (tmp_path / "set-aside" / NAME).write_bytes(b"older")
    assert repaired(tmp_path, b"junk").path.name == f"{NAME}.1"
    assert (tmp_path / "set-aside" / NAME).read_bytes() == b"older"


def test_a_recording_in_progress_is_left_alone(tmp_path: Path) -> None:
    recorder = Recorder(
        RecorderConfig(segment_s=60, min_free_mib=0),
        camera="front",
        directory=tmp_path,
        clock=SystemClock(),
        on_segment=lambda _: None,
        on_set_aside=lambda _: None,
    )
    with recorder:
        for packet in Camera(frame_rate=10).packets(15, EncoderConfig(preset="ultrafast")):
            recorder.write(packet)
        (result,) = repair(tmp_path)
        assert result.outcome is RepairOutcome.IN_USE
        assert list(tmp_path.glob("*.part"))
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
