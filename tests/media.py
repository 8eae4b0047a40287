"""Clips made in code, with known ground truth.

Every picture of a clip carries its own number as a row of black and white blocks (`number_of` reads it back
after any of the codecs), moves, and is noisy enough that an encoder has something to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_BITS = 12
_CODERS = {"h264": "libx264", "h265": "libx265", "mjpeg": "mjpeg"}


@dataclass(frozen=True)
class Clip:
    """What to make.

    Attributes:
        codec: `h264`, `h265`, `mjpeg`, or any encoder of the codec library.
        timestamps: one per picture in units of `time_base` (variable frame rate); None for a steady rate.
        keyframe_interval: pictures.
        bframes: how many may follow each other (0: decoding order is presentation order).
        rotation: degrees counterclockwise that a player has to turn the picture (display matrix).
        sei: text of a user-data SEI before each picture (H.264 only).
        message: a unit put before each picture of `encode_packets`, as it is.
        metadata: of the container.
        audio, data: adds a sine tone (AAC), or a data track with text.
        options: further ones of the encoder.
        draw: makes picture `number` of `width` x `height`, RGB.
    """

    width: int = 320
    height: int = 240
    frames: int = 30
    rate: int = 30
    codec: str = "h264"
    pixel_format: str = "yuv420p"
    timestamps: tuple[int, ...] | None = None
    time_base: Fraction | None = None
    keyframe_interval: int = 15
    bframes: int = 0
    rotation: int = 0
    sei: str = ""
    message: bytes = b""
    metadata: tuple[tuple[str, str], ...] = ()
    audio: bool = False
    data: bool = False
    options: tuple[tuple[str, str], ...] = ()
    draw: Callable[[int, int, int], Image] = field(default_factory=lambda: picture)

    def at(self, index: int) -> int:
        """Timestamp of picture `index` in units of `base`."""
        return index if self.timestamps is None else self.timestamps[index]

    @property
    def base(self) -> Fraction:
        return self.time_base or Fraction(1, self.rate)


def picture(width: int, height: int, number: int) -> Image:
    """RGB picture with `number` (0..4095) in blocks along the top and a square moving below."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = (columns * 160 // max(1, width)) + 40
    image[..., 1] = (rows * 160 // max(1, height)) + 40
    image[..., 2] = 90
    noise = np.random.default_rng(number).integers(-6, 7, (height, width, 1))
    image[...] = np.clip(image.astype(np.int16) + noise, 0, 255)
    band, block = _band(width, height)
    for bit in range(_BITS):
        image[:band, bit * block : (bit + 1) * block] = 235 if number >> bit & 1 else 16
    side = max(4, height // 6)
    left = (number * 5) % max(1, width - side)
    image[height // 2 : height // 2 + side, left : left + side] = (230, 30, 30)
    return image


def number_of(luma: Image) -> int:
    """The number in a picture's luma plane (`height` x `width`, as `picture` made it)."""
    height, width = luma.shape
    band, block = _band(width, height)
    inner = luma[band // 4 : max(band // 4 + 1, band * 3 // 4)]
    bits = (
        inner[:, bit * block + block // 4 : max(bit * block + block // 4 + 1, bit * block + block * 3 // 4)]
        for bit in range(_BITS)
    )
    return sum(int(np.mean(part) > 126) << bit for bit, part in enumerate(bits))


def _band(width: int, height: int) -> tuple[int, int]:
    return max(4, height // 8), max(2, width // _BITS)


def pictures(clip: Clip) -> Iterator[av.VideoFrame]:
    """The clip's pictures before encoding, with timestamps."""
    for index in range(clip.frames):
        frame = av.VideoFrame.from_ndarray(clip.draw(clip.width, clip.height, index), "rgb24")
        frame = frame.reformat(format=clip.pixel_format)
        frame.pts, frame.time_base = clip.at(index), clip.base
        yield frame


def write_clip(path: Path, clip: Clip = Clip()) -> Path:
    """Writes the clip in the container that the suffix says, and returns the path."""
    with av.open(path, "w") as out:
        out.metadata.update(dict(clip.metadata))
        stream = out.add_stream(_CODERS.get(clip.codec, clip.codec), rate=clip.rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pixel_format
        stream.codec_context.time_base = clip.base
        stream.gop_size = clip.keyframe_interval
        stream.options = dict(_coder_options(clip))
        if clip.rotation:
            # The library's angle counts the other way round.
            stream.set_display_rotation(-clip.rotation)
        sound = out.add_stream("aac", rate=16000, layout="mono") if clip.audio else None
        data = out.add_data_stream("bin_data") if clip.data else None
        for frame in pictures(clip):
            for packet in stream.encode(frame):
                out.mux(_with_sei(packet, clip.sei))
        for packet in stream.encode(None):
            out.mux(_with_sei(packet, clip.sei))
        if isinstance(sound, av.AudioStream):
            _mux_tone(out, sound, clip.frames / clip.rate)
        if data is not None:
            text = av.Packet(b"data track text")
            text.stream, text.pts, text.dts, text.time_base = data, 0, 0, Fraction(1, 1000)
            out.mux(text)
    return path


def encode_packets(clip: Clip) -> list[bytes]:
    """The clip as elementary stream, one item per picture (Annex B for H.264 and H.265, parameter sets in
    band at each keyframe)."""
    return [packet for _, packet in encode_access_units(clip)]


def encode_access_units(clip: Clip) -> list[tuple[int, bytes]]:
    """As `encode_packets`, each with its picture's number."""
    context = av.CodecContext.create(_CODERS.get(clip.codec, clip.codec), "w")
    context.width, context.height, context.pix_fmt = clip.width, clip.height, clip.pixel_format
    context.time_base, context.framerate = clip.base, Fraction(clip.rate)
    context.gop_size = clip.keyframe_interval
    context.options = dict(_coder_options(clip))
    context.thread_count = 1
    units = [(p.pts or 0, bytes(p)) for frame in pictures(clip) for p in context.encode(frame)]
    units += [(p.pts or 0, bytes(p)) for p in context.encode(None)]
    before = b"\x00\x00\x00\x01" + clip.message if clip.message else b""
    return [(number, before + unit) for number, unit in units]


def timestamps_of(path: Path) -> list[Fraction]:
    """Presentation times of a file's video packets in seconds, sorted."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        return sorted(p.pts * p.time_base for p in container.demux(stream) if p.pts is not None and p.size)


def _coder_options(clip: Clip) -> Sequence[tuple[str, str]]:
    common = tuple(clip.options)
    if clip.codec == "h264":
        return (
            ("preset", "ultrafast"),
            ("bf", str(clip.bframes)),
            ("sc_threshold", "0"),
            ("slices", "1"),
            *common,
        )
    if clip.codec == "h265":
        params = f"log-level=none:bframes={clip.bframes}:keyint={clip.keyframe_interval}:scenecut=0"
        return (("preset", "ultrafast"), ("x265-params", params + ":pools=1:frame-threads=1"), *common)
    # RTP's JPEG payload knows the standard Huffman tables only.
    return (("huffman", "default"), *common) if clip.codec == "mjpeg" else common


def _with_sei(packet: av.Packet[av.VideoStream], text: str) -> av.Packet[av.VideoStream]:
    """Puts a user-data SEI in front of a length-prefixed or Annex B access unit's first slice."""
    if not text:
        return packet
    payload = bytes(16) + text.encode()
    nal = b"\x06\x05" + b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255]) + payload + b"\x80"
    changed = av.Packet(b"\x00\x00\x00\x01" + nal + bytes(packet))
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    changed.duration, changed.is_keyframe, changed.stream = packet.duration, packet.is_keyframe, packet.stream
    return changed


def _mux_tone(out: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    rate = 16000
    wave = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate).astype(np.float32)[None]
    for start in range(0, wave.shape[1] - 1024, 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(wave[:, start : start + 1024]), "fltp", "mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
