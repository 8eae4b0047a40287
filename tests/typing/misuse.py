"""What must not type-check. Read by mypy in test_types.py, never run.

A line with `# refused: CODE` has to bring that error of mypy; every other line has to be clean.
"""

from __future__ import annotations

from collections.abc import Callable

import av

from veil.domain.cover import Cover, Regions, WholeFrame
from veil.emit import FrameSink, PacketSink
from veil.encode.encoder import Encoder
from veil.encode.packet import MaskedPacket
from veil.frames.masked import MaskedFrame
from veil.frames.picture import FrameInfo, Planes
from veil.frames.pool import Slot
from veil.frames.raw import RawFrame
from veil.mask.masker import Masker
from veil.sinks.recorder import Recorder
from veil.sinks.rtsp import RtspSink


def the_right_way(masker: Masker, encoder: Encoder, recorder: Recorder, raw: RawFrame, cover: Cover) -> None:
    for packet in encoder.encode(masker.mask(raw, cover)):
        recorder.write(packet)


def raw_frame_into_the_encoder(encoder: Encoder, raw: RawFrame) -> None:
    encoder.encode(raw)  # refused: arg-type


def pixels_into_the_encoder(encoder: Encoder, raw: RawFrame, slot: Slot) -> None:
    encoder.encode(raw.planes)  # refused: arg-type
    encoder.encode(slot)  # refused: arg-type
    encoder.encode(slot.picture)  # refused: arg-type


def raw_frame_into_the_recorder(recorder: Recorder, raw: RawFrame) -> None:
    recorder.write(raw)  # refused: arg-type


def masked_frame_is_no_packet(recorder: Recorder, masked: MaskedFrame) -> None:
    recorder.write(masked)  # refused: arg-type


def raw_frame_into_the_stream(sink: RtspSink, raw: RawFrame, masked: MaskedFrame) -> None:
    sink.publish(raw)  # refused: arg-type
    sink.publish(masked)  # refused: arg-type


def raw_frame_into_any_sink(
    packets: PacketSink, frames: FrameSink, raw: RawFrame, masked: MaskedFrame
) -> None:
    frames.offer(masked)
    frames.offer(raw)  # refused: arg-type
    packets.publish(raw)  # refused: arg-type
    packets.publish(masked)  # refused: arg-type


class TakesRawFrames:
    """Not a sink, whatever it calls its methods."""

    def offer(self, frame: RawFrame) -> None: ...


def sink_for_raw_frames(taker: TakesRawFrames) -> FrameSink:
    return taker  # refused: return-value


def bytes_into_the_recorder(recorder: Recorder, data: bytes) -> None:
    recorder.write(data)  # refused: arg-type


def masked_frame_without_seal(
    info: FrameInfo, cover: Cover, picture: av.VideoFrame, planes: Planes, give_back: Callable[[], None]
) -> None:
    MaskedFrame(  # refused: call-arg
        info=info, cover=cover, picture=picture, planes=planes, give_back=give_back, is_slate=True
    )
    MaskedFrame(
        None,  # refused: arg-type
        info=info,
        cover=cover,
        picture=picture,
        planes=planes,
        give_back=give_back,
        is_slate=True,
    )


def raw_frame_called_masked(raw: RawFrame) -> MaskedFrame:
    return raw  # refused: return-value


class Disguise(MaskedFrame):  # refused: misc
    """MaskedFrame is final."""


def mask_without_a_cover(masker: Masker, raw: RawFrame) -> None:
    masker.mask(raw)  # refused: call-arg
    masker.mask(raw, None)  # refused: arg-type


def mask_twice(masker: Masker, masked: MaskedFrame, cover: Cover) -> None:
    masker.mask(masked, cover)  # refused: arg-type


def cover_that_nobody_looked_for(masked: MaskedFrame) -> None:
    Regions(sequence=1, regions=())  # refused: call-arg
    WholeFrame(sequence=1)  # refused: call-arg


def packet_changed_afterwards(packet: MaskedPacket, data: bytes) -> None:
    packet.data = data  # refused: misc
