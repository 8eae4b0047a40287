"""Masked frames to H.264 access units, one picture in, one packet out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, Final, NoReturn

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from veil.config import EncoderConfig
from veil.domain.clock import Clock
from veil.encode.annexb import access_unit, parameter_sets
from veil.encode.codecs import CODECS, open_codec
from veil.encode.packet import MaskedPacket, StreamInfo
from veil.errors import EncoderError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import ColorInfo

_MOST_IN_FLIGHT: Final = 64


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is known of a picture inside the encoder."""

    sequence: int
    captured_ns: int
    is_slate: bool
    is_whole: bool


class Encoder:
    """One encoded stream: one size, one time base, one epoch. A context manager.

    libx264 reads the slot during `encode` only and keeps no reference, so the frame may be released right
    after. Hardware encoders may read on, so they get a converted copy of their own, never the slot.
    With one thread, equal pictures in equal order give equal bytes. With more, x264 holds a slice's rate
    against the others' state of that moment, so equal pictures may differ in quantization from run to run.

    Args:
        config: the `[encoder]` section.
        width, height: coded size in pixels, even.
        time_base: of the frames' `pts`, which goes through unchanged.
        frame_rate: nominal, for rate control and keyframe distance; frames may come at any times.
        color: signalled in the stream.
        epoch: of all frames.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        width: int,
        height: int,
        time_base: Fraction,
        frame_rate: float,
        color: ColorInfo,
        epoch: int,
        clock: Clock,
    ) -> None:
        if width % 2 or height % 2:
            raise EncoderError(f"an encoder needs even sizes, not {width}x{height}.")
        self._codec = CODECS[config.codec]
        self._open: Callable[[], VideoCodecContext] = lambda: open_codec(
            config, width=width, height=height, time_base=time_base, frame_rate=frame_rate, color=color
        )
        self._width, self._height = width, height
        self._time_base, self._color, self._epoch, self._clock = time_base, color, epoch, clock
        self._duration = max(1, round(1 / (Fraction(frame_rate) * time_base)))
        # Half a frame less, so that an interval of whole frames does not become one frame longer by rounding.
        self._keyframe_distance = Fraction(config.keyframe_interval_s) / time_base - Fraction(
            self._duration, 2
        )
        self._context: VideoCodecContext | None = None
        self._stream: StreamInfo | None = None
        self._in_flight: OrderedDict[int, _Sent] = OrderedDict()
        self._last_keyframe: int | None = None
        self._last_pts: int | None = None
        self._keyframe_wanted = True

    def __enter__(self) -> Encoder:
        """Opens the codec. Raises EncoderError where it is missing or its device cannot be opened."""
        self._context = self._open()
        if sets := parameter_sets(self._context.extradata or b""):
            self._stream = self._describe(sets)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context = None
        self._in_flight.clear()

    @property
    def stream(self) -> StreamInfo:
        """What readers need. Some hardware encoders say it with their first packet only: EncoderError."""
        if self._stream is None:
            raise EncoderError(f"{self._codec.name} has not said its parameter sets yet.")
        return self._stream

    def request_keyframe(self) -> None:
        """The next frame becomes a keyframe (IDR) with parameter sets."""
        self._keyframe_wanted = True

    def encode(self, frame: MaskedFrame) -> list[MaskedPacket]:
        """The packets that are ready: exactly one for libx264. `frame` stays the caller's, to release.

        Raises EncoderError for a frame of another size, epoch, time base or from before the last one, and
        where the codec fails; after a failure every call fails.
        """
        context = self._require_open()
        info, picture = frame.info, frame.picture
        self._check(frame, picture)
        is_due = self._last_keyframe is None or info.pts - self._last_keyframe >= self._keyframe_distance
        is_keyframe = self._keyframe_wanted or is_due
        if is_keyframe:
            self._keyframe_wanted, self._last_keyframe = False, info.pts
        self._last_pts = info.pts
        self._in_flight[info.pts] = _Sent(info.sequence, info.captured_ns, frame.is_slate, frame.is_whole)
        if len(self._in_flight) > _MOST_IN_FLIGHT:
            self._fail(f"{self._codec.name} holds more than {_MOST_IN_FLIGHT} frames back.")
        try:
            if self._codec.reads == "later_too":
                picture = picture.reformat(format=self._codec.pixel_format)
            picture.pts, picture.time_base = info.pts, info.time_base
            # The slot is reused, so the type must be set each time.
            picture.pict_type = PictureType.I if is_keyframe else PictureType.NONE
            return self._finish(context.encode(picture))
        except (FFmpegError, ValueError) as error:
            self._fail(f"{self._codec.name} failed at frame {info.sequence}: {error}.", error)

    def flush(self) -> list[MaskedPacket]:
        """The packets that the encoder still held; afterwards it takes no more frames."""
        context = self._require_open()
        try:
            packets = self._finish(context.encode(None))
        except FFmpegError as error:
            self._fail(f"{self._codec.name} failed at its end: {error}.", error)
        self._context = None
        return packets

    def _require_open(self) -> VideoCodecContext:
        if self._context is None:
            raise EncoderError("the encoder is not open, or has failed or ended before.")
        return self._context

    def _check(self, frame: MaskedFrame, picture: av.VideoFrame) -> None:
        info = frame.info
        if (picture.width, picture.height) != (self._width, self._height):
            raise EncoderError(
                f"a frame of {picture.width}x{picture.height} came to an encoder of "
                f"{self._width}x{self._height}."
            )
        if (info.epoch, info.time_base) != (self._epoch, self._time_base):
            raise EncoderError(f"frame {info.sequence} is of another stream (epoch {info.epoch}).")
        if self._last_pts is not None and info.pts <= self._last_pts:
            raise EncoderError(f"frame {info.sequence} goes back in time: {info.pts} after {self._last_pts}.")

    def _finish(self, packets: list[Packet[Any]]) -> list[MaskedPacket]:
        now = self._clock.monotonic_ns()
        return [self._packet(packet, now) for packet in packets if packet.size]

    def _packet(self, packet: Packet[Any], now: int) -> MaskedPacket:
        data = bytes(packet)
        if self._stream is None:
            self._stream = self._describe(parameter_sets(data))
        pts = packet.pts
        sent = None if pts is None else self._in_flight.pop(pts, None)
        if pts is None or sent is None:
            self._fail(f"{self._codec.name} gave a packet that belongs to no frame.")
        return MaskedPacket(
            stream=self._stream,
            data=access_unit(data, self._stream.extradata),
            pts=pts,
            dts=pts if packet.dts is None else packet.dts,
            duration=self._duration,
            keyframe=packet.is_keyframe,
            sequence=sent.sequence,
            captured_ns=sent.captured_ns,
            encoded_ns=now,
            is_slate=sent.is_slate,
            is_whole=sent.is_whole,
        )

    def _describe(self, sets: bytes) -> StreamInfo:
        if not sets:
            self._fail(f"{self._codec.name} began without parameter sets.")
        return StreamInfo(
            codec="h264",
            width=self._width,
            height=self._height,
            time_base=self._time_base,
            extradata=sets,
            epoch=self._epoch,
            color=self._color,
        )

    def _fail(self, message: str, cause: Exception | None = None) -> NoReturn:
        self._context = None
        raise EncoderError(message, hint="The stream starts again with a new encoder.") from cause
