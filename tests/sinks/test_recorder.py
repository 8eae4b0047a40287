"""Promises of the recorder, checked with ffprobe and ffmpeg as independent readers."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from masked_media import MILLISECONDS, Camera
from veil.config import EncoderConfig, RecorderConfig
from veil.domain.clock import SystemClock
from veil.domain.cover import Reason
from veil.encode.packet import MaskedPacket
from veil.errors import DiskFullError, SinkError
from veil.frames.picture import ColorInfo
from veil.sinks.mp4_boxes import walk
from veil.sinks.recorder import Recorder, RecorderState, SegmentClosed, SegmentEnd, SegmentSetAside

CONFIG = RecorderConfig(segment_s=2.0, min_free_mib=0)
FAST = EncoderConfig(preset="ultrafast", bit_rate=400_000, keyframe_interval_s=1.0)


class Box:
    """A recorder in a folder, and what it reported."""

    def __init__(self, directory: Path, config: RecorderConfig = CONFIG) -> None:
        self.closed: list[SegmentClosed] = []
        self.aside: list[SegmentSetAside] = []
        self.directory = directory
        self.recorder = Recorder(
            config,
            camera="front",
            directory=directory,
            clock=SystemClock(),
            on_segment=self.closed.append,
            on_set_aside=self.aside.append,
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir() if path.is_file())


def probe(path: Path) -> list[dict[str, str]]:
    """All packets of the file, as ffprobe reads them; fails on any complaint."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_packets", "-of", "json", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    packets: list[dict[str, str]] = json.loads(done.stdout)["packets"]
    return packets


def decoded_frames(path: Path) -> int:
    """How many pictures ffmpeg decodes; fails on any complaint."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i", str(path), "-f", "framehash", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return sum(1 for line in done.stdout.splitlines() if not line.startswith("#"))


def test_segments_play_and_are_cut_at_keyframes_without_a_gap(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.recorder as recorder:
        for packet in Camera().packets(200, FAST):
            recorder.write(packet)
    assert [segment.frames for segment in box.closed] == [60, 60, 60, 20]
    assert [segment.end for segment in box.closed] == [SegmentEnd.LENGTH] * 3 + [SegmentEnd.STOPPED]
    for before, after in zip(box.closed, box.closed[1:], strict=False):
        assert before.last_media_ns == after.first_media_ns
        assert before.number + 1 == after.number
    for segment in box.closed:
        packets = probe(segment.path)
        assert len(packets) == segment.frames == decoded_frames(segment.path)
        assert packets[0]["flags"].startswith("K")
        assert float(packets[0]["pts_time"]) == 0
        assert hashlib.sha256(segment.path.read_bytes()).hexdigest() == segment.sha256
        assert segment.path.stat().st_size == segment.size
        assert segment.dropped_frames == 0
    assert box.names() == [segment.path.name for segment in box.closed]


def test_times_of_any_kind_are_kept_exactly(tmp_path: Path) -> None:
    for base in (MILLISECONDS, Fraction(1, 1_000_000_000), Fraction(1001, 30000)):
        times = [0, 1, 34, 700, 701, 1450, 9000]
        if base.denominator > 1_000_000:
            times = [time * 1_000_000 for time in times]
        camera = Camera(time_base=base)
        box = Box(tmp_path / str(base.denominator), RecorderConfig(segment_s=3600, min_free_mib=0))
        with box.recorder as recorder, camera.encoder(FAST) as encoder:
            for pts in times:
                with camera.frame(pts=pts + 5_000) as frame:
                    for packet in encoder.encode(frame):
                        recorder.write(packet)
        (segment,) = box.closed
        seen = [int(packet["pts"]) for packet in probe(segment.path)]
        assert seen == [pts * base.numerator for pts in times]


def test_fragments_are_one_second_and_on_disk_while_recording(tmp_path: Path) -> None:
    box = Box(tmp_path, RecorderConfig(segment_s=60, min_free_mib=0))
    with box.recorder as recorder:
        for packet in Camera().packets(95, FAST):
            recorder.write(packet)
        (part,) = tmp_path.iterdir()
        assert part.name.endswith(".mp4.part")
        assert [len(fragment.samples) for fragment in walk(part).fragments] == [30, 30, 30]
        assert decoded_frames(part) == 90


def test_it_is_known_which_frames_are_in_the_file_by_now(tmp_path: Path) -> None:
    box, said = Box(tmp_path), []
    with box.recorder as recorder:
        for packet in Camera().packets(95, FAST):
            recorder.write(packet)
            said.append(recorder.written)
    assert said[29] == range(0)
    assert said[30] == range(30)
    assert (said[60].start, len(said[60])) == (60, 0)
    assert said[90] == range(60, 90)
    assert recorder.written.start == 95


def test_nothing_but_video_is_written(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.recorder as recorder:
        for packet in Camera(color=ColorInfo(matrix=1, primaries=1, transfer=1)).packets(10, FAST):
            recorder.write(packet)
    path = box.closed[0].path
    shown = json.loads(
        subprocess.run(
            ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)],
            capture_output=True,
            check=True,
        ).stdout
    )
    (stream,) = shown["streams"]
    assert set(shown["format"]["tags"]) == {"major_brand", "minor_version", "compatible_brands"}
    assert set(stream["tags"]) <= {"language", "handler_name", "vendor_id"}
    assert stream["tags"].get("handler_name", "") == ""
    assert (stream["color_space"], stream["color_range"]) == ("bt709", "tv")
    for word in (b"x264", b"Lavf", b"Lavc", b"creation", b"udta"):
        assert word not in path.read_bytes()


def test_samples_that_are_not_square_are_shown_so(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.recorder as recorder:
        for packet in Camera(color=ColorInfo(aspect=(16, 15))).packets(10, FAST):
            recorder.write(packet)
    content = box.closed[0].path.read_bytes()
    assert b"pasp" + struct.pack(">II", 16, 15) in content
    with av.open(str(box.closed[0].path)) as container:
        assert container.streams.video[0].codec_context.sample_aspect_ratio == Fraction(16, 15)


def test_a_new_stream_starts_a_new_segment(tmp_path: Path) -> None:
    box = Box(tmp_path, RecorderConfig(segment_s=60, min_free_mib=0))
    with box.recorder as recorder:
        for camera in (Camera(), Camera(epoch=1), Camera(640, 360, epoch=2)):
            for packet in camera.packets(20, FAST):
                recorder.write(packet)
    assert [(segment.frames, segment.end) for segment in box.closed] == [
        (20, SegmentEnd.NEW_STREAM),
        (20, SegmentEnd.NEW_STREAM),
        (20, SegmentEnd.STOPPED),
    ]
    assert [decoded_frames(segment.path) for segment in box.closed] == [20, 20, 20]


def test_masked_whole_slate_and_dropped_frames_are_counted(tmp_path: Path) -> None:
    camera = Camera()
    box = Box(tmp_path, RecorderConfig(segment_s=60, min_free_mib=0))
    with box.recorder as recorder, camera.encoder(FAST) as encoder:
        for index in range(20):
            if index in {7, 8}:
                camera.sequence += 1
                continue
            with camera.frame(whole=Reason.DETECTOR_LATE if index in {3, 4, 5} else None) as frame:
                (packet,) = encoder.encode(frame)
            recorder.write(
                dataclasses.replace(packet, is_slate=True, is_whole=True) if index == 4 else packet
            )
    (segment,) = box.closed
    counts = (segment.masked_frames, segment.whole_frames, segment.slate_frames, segment.dropped_frames)
    assert counts == (15, 2, 1, 2)


def test_recording_begins_at_a_keyframe(tmp_path: Path) -> None:
    box = Box(tmp_path)
    with box.recorder as recorder:
        for packet in list(Camera().packets(40, FAST))[10:]:
            recorder.write(packet)
    assert (box.closed[0].frames, box.closed[0].dropped_frames) == (10, 20)


def test_a_restarted_recorder_never_overwrites(tmp_path: Path) -> None:
    names: set[str] = set()
    for run in range(3):
        box = Box(tmp_path)
        with box.recorder as recorder:
            for packet in Camera().packets(10, FAST):
                recorder.write(packet)
        assert box.closed[0].number == run + 1
        names.add(box.closed[0].path.name)
    assert len(names) == len(box.names()) == 3


@pytest.fixture
def stream() -> Iterator[MaskedPacket]:
    """A stream without end, with a keyframe each second."""
    return Camera(frame_rate=10).packets(100_000, FAST)


def feed(recorder: Recorder, stream: Iterator[MaskedPacket], frames: int) -> list[SinkError]:
    """Writes `frames` packets; what was raised."""
    raised: list[SinkError] = []
    for _ in range(frames):
        try:
            recorder.write(next(stream))
        except SinkError as error:
            raised.append(error)
    return raised


def test_a_failing_fsync_sets_the_segment_aside_and_the_next_one_starts(
    tmp_path: Path, stream: Iterator[MaskedPacket], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, RecorderConfig(segment_s=3, min_free_mib=0))
    real = os.fdatasync

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with box.recorder as recorder:
        assert feed(recorder, stream, 25) == []
        monkeypatch.setattr(os, "fdatasync", broken)
        raised = feed(recorder, stream, 6)
        assert len(raised) == 1
        assert not isinstance(raised[0], DiskFullError)
        monkeypatch.setattr(os, "fdatasync", real)
        assert recorder.state is RecorderState.WAITING
        assert feed(recorder, stream, 40) == []
    (aside,) = box.aside
    assert aside.path.parent.name == "set-aside"
    assert decoded_frames(aside.path) >= 20
    assert all(decoded_frames(segment.path) == segment.frames for segment in box.closed)
    assert sum(s.frames + s.dropped_frames for s in box.closed) + 20 == 71


def test_a_failing_fsync_at_the_end_of_a_segment_gives_no_final_name(
    tmp_path: Path, stream: Iterator[MaskedPacket], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, RecorderConfig(segment_s=2, min_free_mib=0))
    real = os.fsync
    broken = [True]

    def once(descriptor: int) -> None:
        if broken and Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith(".part"):
            broken.clear()
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", once)
    with box.recorder as recorder:
        raised = feed(recorder, stream, 60)
    assert len(raised) == 1
    assert len(box.aside) == 1
    assert not any("000001" in name for name in box.names())
    assert box.closed


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_without_space_recording_stops_keeps_what_is_closed_and_resumes(
    code: int, tmp_path: Path, stream: Iterator[MaskedPacket], monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(tmp_path, RecorderConfig(segment_s=5, min_free_mib=0))
    real, full = os.write, [False]

    def write(descriptor: int, data: bytes) -> int:
        if full[0]:
            real(descriptor, bytes(data)[:100])  # a torn write, as on a real disk
            raise OSError(code, os.strerror(code))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr("veil.sinks.recorder._LOOK_AGAIN_NS", 0)
    monkeypatch.setattr("veil.sinks.recorder.free_bytes", lambda _: 0 if full[0] else 1 << 40)
    with box.recorder as recorder:
        assert feed(recorder, stream, 35) == []
        full[0] = True
        raised = feed(recorder, stream, 50)
        assert [type(error) for error in raised] == [DiskFullError]
        assert recorder.state is RecorderState.DISK_FULL
        full[0] = False
        assert feed(recorder, stream, 30) == []
        assert recorder.state is RecorderState.RECORDING
    first, second = box.closed
    assert first.end is SegmentEnd.DISK_FULL
    assert (first.frames, decoded_frames(first.path)) == (30, 30)
    assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256
    assert decoded_frames(second.path) == second.frames
    assert first.frames + first.dropped_frames + second.frames + second.dropped_frames == 115
    assert box.names() == [first.path.name, second.path.name]


def test_recording_stops_before_the_reserved_space_is_used(
    tmp_path: Path, stream: Iterator[MaskedPacket], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10 << 20]
    monkeypatch.setattr("veil.sinks.recorder.free_bytes", lambda _: free[0])
    monkeypatch.setattr("veil.sinks.recorder._LOOK_AGAIN_NS", 0)
    box = Box(tmp_path, RecorderConfig(segment_s=60, min_free_mib=8))
    with box.recorder as recorder:
        assert feed(recorder, stream, 25) == []
        free[0] = 7 << 20
        assert [type(error) for error in feed(recorder, stream, 40)] == [DiskFullError]
        free[0] = (8 << 20) + 1
        assert feed(recorder, stream, 20) == []
        assert recorder.state is RecorderState.DISK_FULL, "it would be full again at once"
        free[0] = 10 << 20
        assert feed(recorder, stream, 20) == []
        assert recorder.state is RecorderState.RECORDING
    assert [segment.end for segment in box.closed] == [SegmentEnd.DISK_FULL, SegmentEnd.STOPPED]


def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be used"), Box(tmp_path / "file" / "sub").recorder:
        pass
