"""Damaged files: what could not be decoded whole is not looked at, and a hidden picture takes its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from capture.parts import Kept, Pools, Watcher, collect
from media import Clip, encode_packets, number_of, write_clip
from veil.capture.decoder import Aim, Decoder, Limits
from veil.capture.file import FileSource
from veil.capture.mend import _Mark, _Numbered
from veil.config import CaptureConfig
from veil.domain.clock import SystemClock
from veil.errors import CaptureError

_KEY = 10
CLIPS = {
    "h264": Clip(frames=40, keyframe_interval=_KEY),
    "h264-bframes": Clip(frames=40, keyframe_interval=_KEY, bframes=2),
    "h265": Clip(frames=40, keyframe_interval=_KEY, codec="h265"),
    "h265-bframes": Clip(frames=40, keyframe_interval=_KEY, codec="h265", bframes=2),
    "mjpeg": Clip(frames=40, codec="mjpeg", pixel_format="yuvj420p"),
}
Damage = Callable[[bytearray, np.random.Generator], None]


def bits_flipped(data: bytearray, chance: np.random.Generator) -> None:
    for at in chance.integers(len(data) // 2, len(data), 20):
        data[at] ^= 1 << int(chance.integers(8))


def end_zeroed(data: bytearray, chance: np.random.Generator) -> None:
    del chance
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)


def end_lost(data: bytearray, chance: np.random.Generator) -> None:
    del chance
    del data[len(data) // 2 :]


def read(path: Path) -> tuple[list[Kept], FileSource]:
    source = FileSource(path, CaptureConfig(), Pools(), Watcher(), SystemClock())
    return collect(source), source


def damaged_copy(path: Path, packets: set[int], damage: Damage) -> Path:
    """The file with the packets of these numbers, in order of decoding, damaged."""
    target = path.with_stem("damaged")
    chance = np.random.default_rng(7)
    with av.open(str(path)) as given, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(p for p in given.demux(video=0) if p.size):
            data = bytearray(bytes(packet))
            if number in packets:
                damage(data, chance)
            other = av.Packet(bytes(data))
            other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
            other.is_keyframe, other.stream = packet.is_keyframe, stream
            out.mux(other)
    return target


@pytest.mark.parametrize(
    ("name", "damage"),
    # Single bits of H.265 pass unnoticed too often to be promised.
    [
        (name, damage)
        for name in CLIPS
        for damage in (bits_flipped, end_zeroed, end_lost)
        if not (name.startswith("h265") and damage is bits_flipped)
    ],
)
def test_nothing_is_shown_from_the_damage_to_the_next_keyframe(
    tmp_path: Path, name: str, damage: Damage
) -> None:
    path = write_clip(tmp_path / "a.mkv", CLIPS[name])
    whole, _ = read(path)
    frames, _ = read(damaged_copy(path, {13, 24}, damage))
    assert [f.info.pts for f in frames] == [f.info.pts for f in whole]
    assert [f.info.sequence for f in frames] == list(range(40))
    hidden = [number for number, frame in enumerate(frames) if frame.info.is_damaged]
    for number, frame in enumerate(frames):
        if number in hidden:
            assert np.ptp(frame.y) == 0
        else:
            assert np.array_equal(frame.y, whole[number].y), number
    shown = set(range(40)) - set(hidden)
    if name == "mjpeg":
        assert hidden == [13, 24]
    else:
        assert {*range(10), *range(30, 40)} <= shown
        assert {15, 26} <= set(hidden) <= {*range(11, 20), *range(21, 30)}


def test_a_damaged_keyframe_hides_its_whole_group(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", CLIPS["h264-bframes"])
    frames, _ = read(damaged_copy(path, {20}, end_lost))
    assert {number for number, frame in enumerate(frames) if frame.info.is_damaged} >= set(range(20, 30))
    assert not any(frame.info.is_damaged for frame in [*frames[:17], *frames[30:]])


def test_a_damaged_beginning_is_hidden_in_the_size_of_what_follows(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", replace(CLIPS["h264"], rotation=90))
    frames, source = read(damaged_copy(path, {0}, end_lost))
    assert [frame.info.is_damaged for frame in frames] == [True] * _KEY + [False] * 30
    assert {(f.info.width, f.info.height, f.info.epoch, f.info.color) for f in frames} == {
        (240, 320, 0, frames[-1].info.color)
    }
    assert source.intake.copier.full_size_copies == 30


def test_a_damaged_end_is_hidden_too(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", CLIPS["h264-bframes"])
    frames, _ = read(damaged_copy(path, {35}, end_lost))
    assert len(frames) == 40
    assert [frame.info.is_damaged for frame in frames[-3:]] == [True] * 3
    assert all(b.info.pts > a.info.pts for a, b in pairwise(frames))


def test_a_lost_piece_of_a_transport_stream_hides_until_the_next_keyframe(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ts", CLIPS["h264"])
    whole, _ = read(path)
    data = path.read_bytes()
    pieces = [data[at : at + 188] for at in range(0, len(data), 188)]
    # Past the tables, in a group of pictures that is neither the first nor the last.
    begin = len(pieces) * 45 // 100
    path.write_bytes(b"".join([*pieces[:begin], *pieces[begin + 3 :]]))
    frames, _ = read(path)
    shown = [frame for frame in frames if not frame.info.is_damaged]
    by_pts = {frame.info.pts: frame for frame in whole}
    assert len(shown) < 40
    assert all(np.array_equal(frame.y, by_pts[frame.info.pts].y) for frame in shown)
    assert [number_of(frame.luma) for frame in shown][-10:] == list(range(30, 40))


def test_a_file_without_one_whole_picture_is_one_clear_error(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", replace(CLIPS["h264"], frames=8))
    with pytest.raises(CaptureError, match="no picture"):
        read(damaged_copy(path, set(range(8)), end_lost))


def test_a_mark_outlives_an_equal_one_of_another_file() -> None:
    [data] = encode_packets(replace(CLIPS["mjpeg"], frames=1))
    marks = []
    for _ in range(2):
        context = av.CodecContext.create("mjpeg", "r")
        decoder = Decoder.of_context(context, Limits(640, 480), 1, Aim.FILE)
        marks.append((decoder, _Numbered(5, av.Packet(data)).decoded_by(decoder)))
    first = marks.pop(0)
    del first
    [frame] = marks[0][1]
    assert frame.opaque == _Mark(5)
