"""The parts that live cameras and files have in common, made from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from veil.config import CameraConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.emit import Covers, EncoderSpec, Encodes, LooksBack, Makers
from veil.encode.encoder import Encoder
from veil.encode.packet import MaskedPacket, StreamInfo
from veil.encode.slate import encode_slate
from veil.mask.lookback import LookBack
from veil.mask.masker import SlateMaker
from veil.mask.policy import MaskPolicy
from veil.sinks.rtsp import RtspSink


def lookback_ns(config: CameraConfig) -> int:
    return int(config.mask.lookback_s * NANOSECONDS)


def emitter_makers(config: CameraConfig, frame_rate: Callable[[], float], clock: Clock) -> Makers:
    """Encoder, look-back and policy as configured.

    Args:
        frame_rate: nominal frames a second of the source at the time when an encoder is opened.
    """

    def encoder(spec: EncoderSpec) -> AbstractContextManager[Encodes]:
        return Encoder(
            config.encoder,
            width=spec.width,
            height=spec.height,
            time_base=spec.time_base,
            frame_rate=frame_rate(),
            color=spec.color,
            epoch=spec.epoch,
            clock=clock,
        )

    def lookback() -> LooksBack:
        hold_ns = int(config.tracker.hold_s * NANOSECONDS)
        return LookBack(lookback_ns(config), hold_ns, config.tracker.growth_per_s)

    def policy(width: int, height: int) -> Covers:
        return MaskPolicy(config.mask, width, height)

    return Makers(encoder, lookback, policy)


def slate_lines(camera: str) -> tuple[str, ...]:
    """What a slate says."""
    return (camera, "no safe picture")


class Announcing:
    """Tells the RTSP sink of each new stream, with a slate of the same settings, before its first packet."""

    def __init__(
        self, sink: RtspSink, camera: CameraConfig, frame_rate: Callable[[], float], clock: Clock
    ) -> None:
        self._sink = sink
        self._camera = camera
        self._frame_rate = frame_rate
        self._clock = clock
        self._stream: StreamInfo | None = None

    def publish(self, packet: MaskedPacket) -> None:
        if packet.stream != self._stream:
            self._stream = packet.stream
            maker = SlateMaker(packet.stream.width, packet.stream.height, slate_lines(self._camera.name))
            self._sink.announce(
                encode_slate(
                    self._camera.encoder,
                    maker.slate,
                    packet.stream,
                    frame_rate=self._frame_rate(),
                    clock=self._clock,
                )
            )
        self._sink.publish(packet)
