"""Decoding within limits: a picture over the configured size is refused before its pixels are allocated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from veil.capture.jpeg import jpeg_size
from veil.capture.sei import SeiFilter
from veil.config import CaptureConfig
from veil.errors import CaptureError, FrameTooLargeError

DEFAULT_FRAME_RATE: Final = 25.0
_STRICT: Final = {"err_detect": "crccheck+bitstream+buffer+explode"}
_ROW: Final = 64
_OUTPUT_CORRUPT: Final = 1 << 3
_COPY_OPAQUE: Final = 1 << 7


class Aim(StrEnum):
    """What a decoder is set up for.

    A damaged picture is an error for both, where the codec library notices. `LIVE`: no delay. `FILE`: several
    pictures at once, which carry the `opaque` of their packets; an error may belong to an earlier packet.
    """

    LIVE = "live"
    FILE = "file"


class DecodeError(CaptureError):
    """One packet could not be decoded; what follows may be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest picture that is decoded, in pixels. Both sides count, and a picture that stands is as large
    as one that lies. `advice`: what to do about a larger one."""

    max_width: int
    max_height: int
    advice: str = "Set a smaller size in the camera, or raise capture.max_width and capture.max_height."

    @classmethod
    def of(cls, config: CaptureConfig, *, advice: str | None = None) -> Limits:
        """`advice` where that for cameras does not fit."""
        limits = cls(config.max_width, config.max_height)
        return limits if advice is None else replace(limits, advice=advice)

    @property
    def codec_options(self) -> dict[str, str]:
        """For the codec library, which refuses to allocate more; also while it probes the stream."""
        # The library counts rows with what it pads them by.
        width, height = (-(-side // _ROW) * _ROW for side in (self.max_width, self.max_height))
        return {"max_pixels": str(width * height)}

    def check(self, width: int, height: int) -> None:
        """Raises FrameTooLargeError."""
        longer, shorter = max(self.max_width, self.max_height), min(self.max_width, self.max_height)
        if max(width, height) > longer or min(width, height) > shorter:
            raise self.too_large(f"pictures of {width}x{height}")

    def too_large(self, what: str) -> FrameTooLargeError:
        return FrameTooLargeError(
            f"The source sends {what}; the limit is {self.max_width}x{self.max_height}.",
            hint=self.advice,
        )


class Decoder:
    """One video stream's decoder, with its limits."""

    def __init__(self, context: VideoCodecContext, limits: Limits) -> None:
        self._context = context
        self._limits = limits
        self._is_jpeg = context.name == "mjpeg"
        self._messages = SeiFilter(context)

    @classmethod
    def of_stream(cls, stream: VideoStream, limits: Limits, threads: int, aim: Aim) -> Decoder:
        """As `of_context`, with the stream's own."""
        return cls.of_context(stream.codec_context, limits, threads, aim)

    @classmethod
    def of_context(cls, context: VideoCodecContext | None, limits: Limits, threads: int, aim: Aim) -> Decoder:
        """Raises FrameTooLargeError where a stream announces too large a picture, CaptureError without a
        decoder for its codec."""
        if context is None:
            raise CaptureError(
                "There is no decoder for the source's video codec.", hint="Set the camera to H.264 or H.265."
            )
        limits.check(context.width, context.height)
        # Not strict, decoders show pictures as whole that are torn (HEVC), or half grey (JPEG).
        context.options = limits.codec_options | _STRICT
        context.thread_count = threads
        match aim:
            case Aim.FILE:
                context.thread_type = "AUTO"
                context.flags |= _OUTPUT_CORRUPT | _COPY_OPAQUE
            case Aim.LIVE:
                context.thread_type = "SLICE"
                if context.name == "h264":
                    # With slice threads this decoder no longer notices missing slices (measured: 0 of 3).
                    context.thread_count = 1
        return cls(context, limits)

    @classmethod
    def of_jpeg(cls, limits: Limits) -> Decoder:
        """For JPEG pictures one by one."""
        context = av.CodecContext.create("mjpeg", "r")
        context.options = limits.codec_options | _STRICT
        context.thread_count = 1
        return cls(context, limits)

    @property
    def sample_aspect(self) -> Fraction | None:
        """Width to height of a sample of the last picture; None: not said."""
        return self._context.sample_aspect_ratio

    def decode(self, packet: Packet[Any] | None) -> list[av.VideoFrame]:
        """Pictures in presentation order.

        Raises:
            DecodeError: this packet is broken.
            FrameTooLargeError: the picture would be over the limits; nothing was allocated for it.
        """
        if packet is not None:
            if self._is_jpeg and packet.size:
                self._limits.check(*(jpeg_size(memoryview(packet)) or (0, 0)))
            self._messages.clean(packet)
        try:
            frames = self._context.decode(packet)
        except EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            self._refuse_too_large(error)
            raise DecodeError(f"A packet could not be decoded ({type(error).__name__}).") from None
        for frame in frames:
            self._limits.check(frame.width, frame.height)
        return frames

    def flush(self) -> None:
        """Forgets all pictures; to be called before going on at a keyframe."""
        self._context.flush_buffers()

    def _refuse_too_large(self, error: Exception) -> None:
        # Codecs differ in what they leave behind when the library refuses the size: the size, or none and
        # "invalid argument" (which broken data does not give: that is "invalid data").
        self._limits.check(self._context.width, self._context.height)
        if isinstance(error, av.error.ArgumentError) and self._context.width == 0:
            raise self._limits.too_large("pictures that are too large") from None


def frame_rate_of(stream: VideoStream) -> float:
    """What the stream says, or 25 where that makes no sense."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and 1 <= rate <= 240:
            return float(rate)
    return DEFAULT_FRAME_RATE
