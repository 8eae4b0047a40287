"""The parts that live cameras and files have in common, made from the configuration."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from veil.config import CameraConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.emit import Covers, EncoderSpec, Encodes, LooksBack, Makers
from veil.encode.encoder import Encoder
from veil.encode.packet import StreamInfo
from veil.encode.slate import Slate, encode_slate
from veil.mask.lookback import LookBack
from veil.mask.masker import SlateMaker
from veil.mask.policy import MaskPolicy


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
        return LookBack(
            lookback_ns(config),
            hold_ns,
            config.tracker.growth_per_s,
            tail_ns=int(config.mask.tail_s * NANOSECONDS),
            unsure_ns=int(config.mask.unsure_s * NANOSECONDS),
        )

    def policy(width: int, height: int) -> Covers:
        return MaskPolicy(config.mask, width, height)

    return Makers(encoder, lookback, policy)


def slate_lines(camera: str) -> tuple[str, ...]:
    """What a slate says."""
    return (camera, "no safe picture")


def slates(
    camera: CameraConfig, frame_rate: Callable[[], float], clock: Clock
) -> Callable[[StreamInfo], Slate]:
    """Makes the slate that the RTSP server shows for a stream of this camera."""

    def slate(stream: StreamInfo) -> Slate:
        maker = SlateMaker(stream.width, stream.height, slate_lines(camera.name))
        return encode_slate(camera.encoder, maker.slate, stream, frame_rate=frame_rate(), clock=clock)

    return slate


class SlatesAhead:
    """The slates of each stream, made before its own encoder is opened.

    With both encoders open at a time a camera's process would need the most memory of its life at its start:
    25 to 43 MiB more at 1080p (measured).
    """

    def __init__(self, make: Callable[[StreamInfo], Slate]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[EncoderSpec, Slate] | None = None

    def before(self, makers: Makers) -> Makers:
        """`makers` whose encoders are opened after their slates were made."""

        def encoder(spec: EncoderSpec) -> AbstractContextManager[Encodes]:
            stream = StreamInfo(
                "h264",
                spec.width,
                spec.height,
                spec.time_base,
                extradata=b"",
                epoch=spec.epoch,
                color=spec.color,
            )
            self(stream)
            return makers.encoder(spec)

        return replace(makers, encoder=encoder)

    def __call__(self, stream: StreamInfo) -> Slate:
        """Those of `stream`, from any thread."""
        spec = EncoderSpec(stream.width, stream.height, stream.time_base, stream.color, stream.epoch)
        with self._lock:
            if self._made is None or self._made[0] != spec:
                self._made = spec, self._make(stream)
            return self._made[1]
