"""Supplemental messages that end too early: cameras send them, and no picture may be lost for it."""

from __future__ import annotations

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import Clip, encode_packets
from veil.capture.decoder import Aim, Decoder, Limits
from veil.capture.sei import SeiFilter

START = b"\x00\x00\x00\x01"
# Says that units have their length before them, in four bytes.
AVCC = b"\x01" + b"\xff" * 22
LIMITS = Limits(4000, 4000)
HEADER = {"h264": b"\x06", "h265": b"\x4e\x01"}
BROKEN = {
    "own type, too long": b"\xf0\xff\x69" + bytes([0x31]) * 40 + b"\x80",
    "picture timing, too long": b"\x01\x28" + bytes([0x31]) * 10 + b"\x80",
    "text without its name": b"\x05\x04abcd\x80",
    "no content": b"",
    "no end": b"\xff\xff\xff",
}


def stream_of(codec: str, unit: bytes, frames: int) -> io.BytesIO:
    """Pictures with `unit` as a message before each."""
    packets = encode_packets(Clip(frames=frames, codec=codec, keyframe_interval=6))
    return io.BytesIO(b"".join(START + unit + packet for packet in packets))


def with_lengths(data: bytes) -> bytes:
    """An access unit as MP4 has it, from one with start codes."""
    units = data.replace(START, START[1:]).split(START[1:])[1:]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize("aim", Aim)
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_broken_messages_cost_no_picture(codec: str, broken: bytes, aim: Aim) -> None:
    name = "hevc" if codec == "h265" else codec
    pictures = 0
    with av.open(stream_of(codec, HEADER[codec] + broken, 12), format=name) as given:
        decoder = Decoder.of_stream(given.streams.video[0], LIMITS, 1, aim)
        for packet in given.demux(video=0):
            pictures += len(decoder.decode(packet if packet.size else None))
    assert pictures == 12


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_messages_with_lengths_before_them_are_found_too(codec: str) -> None:
    unit = HEADER[codec] + BROKEN["own type, too long"]
    [packet] = encode_packets(Clip(frames=1, codec=codec))
    context = av.CodecContext.create("hevc" if codec == "h265" else codec, "r")
    context.extradata = AVCC
    mine = av.Packet(with_lengths(START + unit + packet))
    SeiFilter(context).clean(mine)
    filler = {"h264": 0x0C, "h265": 0x4C}[codec]
    assert bytes(mine) == with_lengths(START + bytes([filler]) + unit[1:] + packet)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_sound_messages_stay(codec: str) -> None:
    recovery_point, text = b"\x06\x01\x84", b"\x05\x12" + bytes(range(18))
    packet = av.Packet(START + HEADER[codec] + recovery_point + text + b"\x80" + START + b"\x02\x01pic")
    before = bytes(packet)
    SeiFilter(av.CodecContext.create("hevc" if codec == "h265" else codec, "r")).clean(packet)
    assert bytes(packet) == before


@given(st.binary(max_size=400), st.sampled_from(["h264", "hevc", "mjpeg"]), st.sampled_from([AVCC, None]))
def test_whatever_comes_only_headers_of_messages_change(
    data: bytes, codec: str, extradata: bytes | None
) -> None:
    context = av.CodecContext.create(codec, "r")
    context.extradata = extradata
    packet = av.Packet(data or b"\x00")
    before = bytes(packet)
    SeiFilter(context).clean(packet)
    kinds = {"h264": {6}, "hevc": {39, 40}, "mjpeg": set[int]()}[codec]
    for old, new in zip(before, bytes(packet), strict=True):
        assert old == new or (old & 31 if codec == "h264" else old >> 1 & 63) in kinds
