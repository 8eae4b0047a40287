"""Local cameras (USB, CSI through a bridge) over V4L2."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from veil.capture.backoff import Backoff
from veil.capture.copy import Picture
from veil.capture.decoder import DEFAULT_FRAME_RATE, DecodeError, Decoder, Limits
from veil.capture.intake import LiveTimeline
from veil.capture.live import LiveSource
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.capture.v4l2_device import CaptureFormat, Dequeued, V4l2Device
from veil.config import CaptureConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import CaptureError, StreamStalledError
from veil.frames.picture import ColorInfo
from veil.frames.raw import RawFrame

_LOOK_S: Final = 0.2
_MICROSECOND: Final = Fraction(1, 1_000_000)
_FOURCC: Final = {"yuyv": "YUYV", "mjpeg": "MJPG", "nv12": "NV12"}
_VGA: Final = 640 * 480
_BT601: Final = 6


def choose_format(offered: list[str], wanted: str, width: int, height: int) -> str:
    """The four-character code to use.

    `auto` takes NV12 where there is one; else MJPEG above VGA, since USB 2 carries no more than a few raw
    pictures of that size in a second; else YUYV.

    Raises:
        CaptureError: the device offers nothing of that.
    """
    if wanted != "auto":
        order = [_FOURCC[wanted]]
    elif width * height > _VGA:
        order = ["NV12", "MJPG", "YUYV"]
    else:
        order = ["NV12", "YUYV", "MJPG"]
    for fourcc in order:
        if fourcc in offered:
            return fourcc
    raise CaptureError(
        f"The camera offers {', '.join(offered) or 'no format'}, and {' or '.join(order)} is needed.",
        hint='Set capture.pixel_format = "auto", or use another of the camera\'s devices.',
    )


class V4l2Source(LiveSource):
    """A V4L2 camera sending YUYV, NV12 or MJPEG.

    Media time is the driver's monotonic timestamp where it has one, else the time of arrival.
    """

    def __init__(
        self,
        path: Path,
        config: CaptureConfig,
        pools: PoolProvider,
        observer: CaptureObserver,
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(config, pools, observer, clock, backoff)
        self._path = path
        self._limits = Limits.of(config)

    def session(self) -> Iterator[RawFrame]:
        with V4l2Device(self._path) as device:
            chosen = self._configured(device)
            reader = _JpegReader(self._limits) if chosen.fourcc == "MJPG" else _RawReader(chosen)
            self.intake.begin(
                chosen.frame_rate if 1 <= chosen.frame_rate <= 240 else DEFAULT_FRAME_RATE, LiveTimeline
            )
            device.start()
            heard_ns = self.clock.monotonic_ns()
            while not self.closed.is_set():
                buffer = device.dequeue(_LOOK_S)
                now_ns = self.clock.monotonic_ns()
                if buffer is None:
                    self._check_stall(now_ns - heard_ns)
                    continue
                heard_ns = now_ns
                pts = now_ns // 1000 if buffer.monotonic_us is None else buffer.monotonic_us
                picture = self._read(reader, buffer)
                if picture is None:
                    continue
                raw = self.intake.take(picture, pts=pts, time_base=_MICROSECOND)
                if raw is not None:
                    yield raw

    def _configured(self, device: V4l2Device) -> CaptureFormat:
        config = self.config
        width, height = device.current_size()
        width, height = config.width or width, config.height or height
        fourcc = choose_format(device.formats(), config.pixel_format, width, height)
        chosen = device.configure(fourcc, width, height, config.frame_rate)
        self._limits.check(chosen.width, chosen.height)
        if chosen.fourcc != fourcc:
            raise CaptureError(
                f"{self._path} gives {chosen.fourcc} where {fourcc} was asked for.",
                hint="Set capture.pixel_format to another format.",
            )
        return chosen

    def _read(self, reader: _JpegReader | _RawReader, buffer: Dequeued) -> av.VideoFrame | Picture | None:
        if not buffer.is_broken:
            try:
                return reader.read(buffer.data)
            except DecodeError:
                pass
        self.observer.dropped(DropReason.DECODE_ERROR)
        return None

    def _check_stall(self, silent_ns: int) -> None:
        if silent_ns >= self.config.stall_timeout_s * 0.9 * NANOSECONDS:
            raise StreamStalledError(
                f"{self._path} is open and has sent nothing for {silent_ns / NANOSECONDS:.1f} s.",
                hint="Unplug the camera and plug it in again.",
            )


class _RawReader:
    """YUYV and NV12 straight from the driver's buffer."""

    def __init__(self, chosen: CaptureFormat) -> None:
        self._format = chosen
        least = chosen.width * 2 if chosen.fourcc == "YUYV" else chosen.width
        self._stride = max(chosen.bytes_per_line, least)
        rows = chosen.height if chosen.fourcc == "YUYV" else chosen.height + (chosen.height + 1) // 2
        self._size = self._stride * rows
        self._rows = rows
        # The standard for cameras without a colour description of their own.
        self._color = ColorInfo(matrix=_BT601)

    def read(self, data: memoryview) -> Picture:
        """Raises DecodeError for a buffer that is not full."""
        if len(data) < self._size:
            raise DecodeError(f"A buffer holds {len(data)} of {self._size} bytes.")
        width, height = self._format.width, self._format.height
        rows = np.frombuffer(data, np.uint8, self._size).reshape(self._rows, self._stride)
        if self._format.fourcc == "YUYV":
            pairs = (width + 1) // 2 * 4
            return Picture(rows[:, : width * 2 : 2], (rows[:, 1:pairs:4], rows[:, 3:pairs:4]), self._color)
        chroma = rows[height:, : (width + 1) // 2 * 2]
        return Picture(rows[:height, :width], (chroma[:, 0::2], chroma[:, 1::2]), self._color)


class _JpegReader:
    """MJPEG through the codec library."""

    def __init__(self, limits: Limits) -> None:
        self._decoder = Decoder.of_jpeg(limits)

    def read(self, data: memoryview) -> av.VideoFrame:
        """Raises DecodeError, FrameTooLargeError."""
        frames = self._decoder.decode(av.Packet(bytes(data)))
        if not frames or frames[0].is_corrupt:
            raise DecodeError("A buffer holds no whole picture.")
        return frames[0]
