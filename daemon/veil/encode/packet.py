"""The encoded form of masked frames: the only thing that recorder and RTSP take."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from veil.frames.picture import ColorInfo


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a reader needs before the first packet.

    Attributes:
        codec: codec library's name: `h264` or `hevc`.
        width, height: coded size (even).
        extradata: parameter sets, Annex B.
        epoch: of the frames inside; a new one means a new stream (segments and RTSP clients start again).
    """

    codec: str
    width: int
    height: int
    time_base: Fraction
    extradata: bytes
    epoch: int
    color: ColorInfo = field(default_factory=ColorInfo)


@dataclass(frozen=True, slots=True)
class MaskedPacket:
    """One access unit (Annex B) made from one MaskedFrame by `veil.encode.encoder`.

    Attributes:
        pts, dts, duration: in units of `stream.time_base`.
        sequence: of the frame inside.
        captured_ns: monotonic time of that frame's capture; `encoded_ns` when the packet was ready.
        is_slate, is_whole: a slate, or a frame hidden as a whole.
    """

    stream: StreamInfo
    data: bytes
    pts: int
    dts: int
    duration: int
    keyframe: bool
    sequence: int
    captured_ns: int
    encoded_ns: int
    is_slate: bool = False
    is_whole: bool = False
