"""The encoders that a configuration can name, and what each needs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import av
from av.codec.context import Flags, ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext

from veil.config import EncoderConfig
from veil.errors import EncoderError
from veil.frames.picture import ColorInfo

_FULL_RANGE, _LIMITED_RANGE = 2, 1


@dataclass(frozen=True, slots=True)
class Codec:
    """How one encoder is used.

    Attributes:
        pixel_format: what it is fed. Where it is not `yuv420p`, each frame is converted into a new picture.
        reads: when it reads a frame. One that may do so after `encode` has returned is never given a slot.
        needs: what has to be there, for the hint of an error.
    """

    name: str
    pixel_format: str
    reads: Literal["during_encode", "later_too"]
    needs: str


CODECS: Final = {
    codec.name: codec
    for codec in (
        Codec("libx264", "yuv420p", "during_encode", "an FFmpeg with x264"),
        Codec("h264_qsv", "nv12", "later_too", "an Intel GPU, its driver (intel-media-va-driver) and libvpl"),
        Codec(
            "h264_nvenc", "nv12", "later_too", "an NVIDIA GPU with NVENC and its driver (libnvidia-encode)"
        ),
        Codec("h264_v4l2m2m", "nv12", "later_too", "a V4L2 memory-to-memory encoder (/dev/video1x)"),
        Codec(
            "h264_vaapi",
            "nv12",
            "later_too",
            "a VA-API driver, a render node and an FFmpeg built with VA-API",
        ),
    )
}


def _options(config: EncoderConfig) -> dict[str, str]:
    """Codec options: no reordering, no scene cuts, rate held within one second."""
    rate = str(config.bit_rate)
    match config.codec:
        case "libx264":
            return {
                "preset": config.preset,
                "tune": "zerolatency",
                "maxrate": rate,
                "bufsize": rate,
                "sc_threshold": "0",
                "keyint_min": "1",
                "forced-idr": "1",
            }
        case "h264_nvenc":
            return {
                "preset": "p2",
                "tune": "ull",
                "rc": "cbr",
                "maxrate": rate,
                "bufsize": rate,
                "delay": "0",
                "zerolatency": "1",
                "forced-idr": "1",
                "no-scenecut": "1",
            } | ({"gpu": config.device} if config.device else {})
        case "h264_qsv":
            return {
                "preset": "veryfast",
                "maxrate": rate,
                "bufsize": rate,
                "async_depth": "1",
                "low_power": "0",
                "forced_idr": "1",
            } | ({"qsv_device": config.device} if config.device else {})
        case "h264_v4l2m2m":
            return {"num_capture_buffers": "8"}
        case "h264_vaapi":
            return {"maxrate": rate, "bufsize": rate, "async_depth": "1", "idr_interval": "0"}


def _reason(error: FFmpegError | ValueError) -> str:
    """Without the call and its options."""
    return error.strerror or "unknown error" if isinstance(error, FFmpegError) else str(error)


def open_codec(
    config: EncoderConfig,
    *,
    width: int,
    height: int,
    time_base: Fraction,
    frame_rate: float,
    color: ColorInfo,
) -> VideoCodecContext:
    """An open encoder for even `width` x `height`. Raises EncoderError where there is none.

    Parameter sets are in `extradata` where the encoder can say them before its first frame.
    """
    codec = CODECS[config.codec]
    if codec.name not in av.codecs_available:
        raise EncoderError(
            f"this FFmpeg has no encoder {codec.name}.",
            hint=f"It needs {codec.needs}. Set encoder.codec to libx264, or install an FFmpeg that has it.",
        )
    try:
        context = av.CodecContext.create(codec.name, "w")
        if not isinstance(context, VideoCodecContext):
            raise EncoderError(f"{codec.name} does not encode video.", hint="Set encoder.codec to libx264.")
        context.width, context.height, context.pix_fmt = width, height, codec.pixel_format
        context.time_base = time_base
        context.framerate = Fraction(frame_rate).limit_denominator(1001)
        context.bit_rate = config.bit_rate
        context.gop_size = max(1, round(frame_rate * config.keyframe_interval_s))
        context.max_b_frames = 0
        context.color_range = _FULL_RANGE if color.full_range else _LIMITED_RANGE
        context.color_primaries = color.primaries
        context.color_trc = color.transfer
        context.colorspace = color.matrix
        context.sample_aspect_ratio = Fraction(*color.aspect)
        context.flags |= Flags.global_header | Flags.bitexact
        if codec.name == "libx264":
            # Slices, not frames: frame threads would hold a picture back for each thread.
            # Slices, not frames: frame threads would hold a picture back for each thread.
            context.thread_count, context.thread_type = config.threads, ThreadType.SLICE
        context.options = _options(config)
        context.open(strict=True)
    except (FFmpegError, ValueError) as error:
        raise EncoderError(
            f"{codec.name} cannot be opened for {width}x{height} ({_reason(error)}).",
            hint=f"It needs {codec.needs}. Set encoder.codec to libx264 to encode on the processor.",
        ) from error
    return context
