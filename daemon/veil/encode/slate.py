"""A slate as access units of a stream, for a server to repeat while a camera says nothing."""

from __future__ import annotations

from collections.abc import Callable

from veil.config import EncoderConfig
from veil.domain.clock import Clock
from veil.encode.encoder import Encoder
from veil.encode.packet import MaskedPacket, StreamInfo
from veil.errors import EncoderError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import FrameInfo

Slate = tuple[MaskedPacket, MaskedPacket]


def encode_slate(
    config: EncoderConfig,
    make: Callable[[FrameInfo], MaskedFrame],
    stream: StreamInfo,
    *,
    frame_rate: float,
    clock: Clock,
) -> Slate:
    """A slate as two keyframes that fit into `stream`. Raises EncoderError.

    Two, to be sent in turn: successive IDR pictures must differ in `idr_pic_id` (ITU-T H.264, 7.4.3).
    Always by libx264: a hardware encoder may have no second session, and may hold pictures back.

    Args:
        config, frame_rate: of the stream's own encoder, so that libx264's parameter sets are the same.
        make: `SlateMaker.slate`, of the stream's size.
    """
    step = max(1, round(1 / stream.time_base))
    packets: list[MaskedPacket] = []
    with Encoder(
        config.model_copy(update={"codec": "libx264"}),
        width=stream.width,
        height=stream.height,
        time_base=stream.time_base,
        frame_rate=frame_rate,
        color=stream.color,
        epoch=stream.epoch,
        clock=clock,
    ) as encoder:
        for index in range(2):
            info = FrameInfo(
                sequence=index,
                pts=index * step,
                time_base=stream.time_base,
                epoch=stream.epoch,
                captured_ns=clock.monotonic_ns(),
                width=stream.width,
                height=stream.height,
                color=stream.color,
            )
            with make(info) as frame:
                if not frame.is_slate:
                    raise EncoderError("only a slate can be shown in place of a camera.")
                encoder.request_keyframe()
                packets += encoder.encode(frame)
    first, second = packets
    return first, second
