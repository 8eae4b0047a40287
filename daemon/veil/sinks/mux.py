"""Ready-made access units into containers."""

from __future__ import annotations

import io

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from veil.encode.packet import MaskedPacket


def add_stream(container: OutputContainer, first: MaskedPacket) -> VideoStream:
    """A stream of `container` for the packets of `first.stream`; `first` must be a keyframe.

    The codec library reads size and parameter sets out of the access unit itself: its Python binding has no
    way to set them for a stream without an encoder.
    """
    with av.open(io.BytesIO(first.data), format=first.stream.codec) as parsed:
        stream = container.add_stream_from_template(parsed.streams.video[0])
    stream.time_base = first.stream.time_base
    return stream


def as_packet(packet: MaskedPacket, stream: VideoStream) -> Packet[Stream]:
    """`packet` for `stream`, timestamps unchanged."""
    out = Packet(packet.data)
    out.stream = stream
    out.time_base = packet.stream.time_base
    out.pts, out.dts, out.duration = packet.pts, packet.dts, packet.duration
    out.is_keyframe = packet.keyframe
    return out
