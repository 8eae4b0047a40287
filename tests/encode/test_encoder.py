"""Promises of the encoder: times go through, slots may be reused at once, equal pictures give equal bytes."""

from __future__ import annotations

import dataclasses
import gc
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from masked_media import MILLISECONDS, Camera, draw
from veil.config import EncoderConfig
from veil.domain.clock import SystemClock
from veil.domain.cover import Reason
from veil.encode.annexb import NalType, nal_type, parameter_sets, split
from veil.encode.codecs import CODECS
from veil.encode.encoder import Encoder
from veil.encode.packet import MaskedPacket
from veil.encode.slate import encode_slate
from veil.errors import EncoderError, LeaseError
from veil.frames.picture import ColorInfo
from veil.mask.masker import SlateMaker


def decode(packets: list[MaskedPacket]) -> list[av.VideoFrame]:
    context = av.CodecContext.create("h264", "r")
    frames: list[av.VideoFrame] = []
    for packet in packets:
        frames += context.decode(av.Packet(packet.data))
    return frames + context.decode(None)


def types_of(packet: MaskedPacket) -> list[int]:
    return [nal_type(unit) for unit in split(packet.data)]


def test_each_frame_gives_one_packet_at_once_with_its_own_time_and_sequence() -> None:
    camera = Camera(time_base=MILLISECONDS)
    times = [5, 38, 70, 1000, 1001, 5000, 123456]
    packets: list[MaskedPacket] = []
    with camera.encoder() as encoder:
        for pts in times:
            with camera.frame(pts=pts) as frame:
                got = encoder.encode(frame)
            assert len(got) == 1
            packets += got
        assert encoder.flush() == []
    assert [packet.pts for packet in packets] == times
    assert [packet.dts for packet in packets] == times
    assert [packet.sequence for packet in packets] == list(range(len(times)))
    assert all(packet.encoded_ns >= packet.captured_ns for packet in packets)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_slot_may_be_overwritten_right_after_encode(threads: int) -> None:
    camera = Camera(640, 360)
    config = EncoderConfig(threads=threads, bit_rate=8_000_000)
    packets: list[MaskedPacket] = []
    shown: list[np.ndarray] = []
    with camera.encoder(config) as encoder:
        for _ in range(30):
            frame = camera.frame()
            shown.append(frame.planes.y.copy())
            packets += encoder.encode(frame)
            for plane in frame.planes:
                plane[...] = np.random.default_rng(1).integers(0, 255, plane.shape, np.uint8)
            frame.release()
    decoded = decode(packets)
    assert len(decoded) == 30
    for picture, expected in zip(decoded, shown, strict=True):
        seen = picture.to_ndarray()[:360, :640].astype(int)
        assert np.abs(seen - expected).mean() < 3


def test_the_encoder_keeps_no_reference_to_a_picture() -> None:
    camera = Camera()
    with camera.encoder() as encoder:
        frame = camera.frame()
        picture = frame.picture
        before = sys.getrefcount(picture)
        encoder.encode(frame)
        gc.collect()
        assert sys.getrefcount(picture) == before


def test_a_released_frame_is_refused() -> None:
    camera = Camera()
    with camera.encoder() as encoder:
        frame = camera.frame()
        frame.release()
        with pytest.raises(LeaseError):
            encoder.encode(frame)


def test_equal_pictures_give_equal_bytes() -> None:
    config = EncoderConfig(threads=1, bit_rate=300_000, keyframe_interval_s=0.5)
    runs = [[p.data for p in Camera(640, 360).packets(45, config)] for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_keyframes_come_by_media_time_and_on_request_and_never_else() -> None:
    camera = Camera(frame_rate=10, time_base=MILLISECONDS)
    config = EncoderConfig(keyframe_interval_s=1.0)
    keys = []
    with camera.encoder(config) as encoder:
        for index in range(40):
            if index == 14:
                encoder.request_keyframe()
            with camera.frame() as frame:
                for plane in frame.planes:
                    plane[...] = 20 + (index * 97) % 200
                if encoder.encode(frame)[0].keyframe:
                    keys.append(index)
    assert keys == [0, 10, 14, 24, 34]


def test_a_slow_camera_still_gets_keyframes_in_time() -> None:
    camera = Camera(frame_rate=30, time_base=MILLISECONDS)
    with camera.encoder(EncoderConfig(keyframe_interval_s=2.0)) as encoder:
        keys = []
        for index in range(10):
            with camera.frame(pts=index * 1000) as frame:
                keys.append(encoder.encode(frame)[0].keyframe)
    assert keys == [True, False] * 5


def test_keyframes_carry_parameter_sets_and_no_packet_carries_anything_but_slices() -> None:
    packets = list(Camera().packets(70))
    for packet in packets:
        kinds = types_of(packet)
        if packet.keyframe:
            assert kinds[:2] == [NalType.SPS, NalType.PPS]
            assert set(kinds[2:]) == {NalType.IDR}
        else:
            assert set(kinds) == {NalType.SLICE}
        assert b"x264" not in packet.data
        assert parameter_sets(packet.stream.extradata) == packet.stream.extradata
    assert sum(packet.keyframe for packet in packets) == 3


def test_range_and_matrix_are_signalled() -> None:
    color = ColorInfo(full_range=True, primaries=9, transfer=16, matrix=9)
    frames = decode(list(Camera(color=color).packets(3)))
    seen = {(f.color_range, f.color_primaries, f.color_trc, f.colorspace) for f in frames}
    assert seen == {(2, 9, 16, 9)}


def test_whole_and_slate_frames_are_marked() -> None:
    camera = Camera()
    slate = SlateMaker(camera.width, camera.height, ("front", "no safe picture"))
    with camera.encoder() as encoder:
        with camera.frame(whole=Reason.STARTING) as frame:
            (whole,) = encoder.encode(frame)
        with slate.slate(camera.info(pts=10_000)) as frame:
            (shown,) = encoder.encode(frame)
    assert (whole.is_whole, whole.is_slate) == (True, False)
    assert (shown.is_whole, shown.is_slate) == (True, True)


def test_a_slate_fits_into_the_stream_and_its_two_pictures_differ() -> None:
    camera = Camera()
    config = EncoderConfig(preset="ultrafast")
    slate = SlateMaker(camera.width, camera.height, ("front", "no safe picture"))
    live = list(camera.packets(10, config))
    one, two = encode_slate(
        config, slate.slate, live[0].stream, frame_rate=camera.frame_rate, clock=SystemClock()
    )
    assert one.stream.extradata == live[0].stream.extradata
    assert one.keyframe
    assert two.keyframe
    assert one.data != two.data
    frames = decode([*live, one, two, one, two])
    assert len(frames) == 14
    assert not any(frame.is_corrupt for frame in frames)


@pytest.mark.parametrize("name", [name for name in CODECS if name != "libx264"])
def test_a_missing_hardware_encoder_is_refused_with_a_hint(name: str) -> None:
    camera = Camera()
    config = EncoderConfig.model_validate({"codec": name})
    try:
        with camera.encoder(config) as encoder, camera.frame() as frame:
            packets = encoder.encode(frame) + encoder.flush()
    except EncoderError as error:
        refusal = error
    else:
        assert packets[0].keyframe
        pytest.skip(f"this machine has {name}")
    assert refusal.hint
    assert name in refusal.message


def test_frames_of_another_size_epoch_or_time_are_refused() -> None:
    camera = Camera()
    with camera.encoder() as encoder:
        with camera.frame(pts=100) as frame:
            encoder.encode(frame)
        for other in (Camera(640, 360), Camera(epoch=1), Camera(time_base=Fraction(1, 1000)), Camera()):
            other.first_pts = 100
            with other.frame() as frame, pytest.raises(EncoderError):
                encoder.encode(frame)


def test_after_a_failure_nothing_leaves_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera()

    class Broken:
        extradata = b""

        def encode(self, picture: object) -> list[object]:
            raise av.error.ExternalError(-1, "broken")

    monkeypatch.setattr("veil.encode.encoder.open_codec", lambda *_, **__: Broken())
    with camera.encoder() as encoder:
        with camera.frame() as frame, pytest.raises(EncoderError, match="failed at frame 0"):
            encoder.encode(frame)
        with camera.frame() as frame, pytest.raises(EncoderError, match="not open"):
            encoder.encode(frame)


def test_odd_sizes_are_refused_by_the_encoder_and_padded_by_the_slots() -> None:
    with pytest.raises(EncoderError):
        Encoder(
            EncoderConfig(),
            width=321,
            height=180,
            time_base=MILLISECONDS,
            frame_rate=30,
            color=ColorInfo(),
            epoch=0,
            clock=SystemClock(),
        )
    packets = list(Camera(321, 181).packets(3))
    assert (packets[0].stream.width, packets[0].stream.height) == (322, 182)
    assert [(f.width, f.height) for f in decode(packets)] == [(322, 182)] * 3


def test_a_packet_cannot_be_changed() -> None:
    (packet,) = Camera().packets(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        packet.pts = 1  # type: ignore[misc]


def test_the_drawn_frames_differ() -> None:
    camera = Camera()
    one, two = camera.frame(), camera.frame()
    assert not np.array_equal(one.planes.y, two.planes.y)
    draw(one.planes, 1)
    assert np.array_equal(one.planes.y, two.planes.y)
