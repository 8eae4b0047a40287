"""One V4L2 capture device with memory-mapped buffers, through linuxpy's ioctl layer."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from linuxpy.video import device as v4l2

from veil.errors import CaptureError

_BUFFERS: Final = 4
_CAPTURE: Final = v4l2.BufferType.VIDEO_CAPTURE
_MMAP: Final = v4l2.Memory.MMAP
_HINTS: Final = {
    errno.EACCES: ("may not be opened", "Add Veil's user to the group video."),
    errno.EPERM: ("may not be opened", "Add Veil's user to the group video."),
    errno.EBUSY: ("is in use", "Close the other program that reads this camera."),
    errno.ENOENT: ("is not there", "Plug the camera in, or check the path."),
    errno.ENODEV: ("is gone", "Plug the camera in again."),
    errno.ENXIO: ("is gone", "Plug the camera in again."),
    errno.EIO: ("fails to read", "Check cable and power of the camera."),
    errno.ENOTTY: ("is not a camera", "List the cameras with v4l2-ctl --list-devices."),
}


@dataclass(frozen=True, slots=True)
class CaptureFormat:
    """What the driver settled on. `fourcc` as V4L2 writes it: YUYV, MJPG, NV12."""

    fourcc: str
    width: int
    height: int
    bytes_per_line: int
    frame_rate: float


@dataclass(frozen=True, slots=True)
class Dequeued:
    """A filled buffer, valid until the next is asked for.

    Attributes:
        monotonic_us: of the driver, None where it has another clock.
        is_broken: the driver flagged an error.
    """

    data: memoryview
    monotonic_us: int | None
    is_broken: bool


class V4l2Device:
    """Opened on entry, streaming from `start` on, closed on exit. Errors of the driver are CaptureErrors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._maps: list[mmap.mmap] = []
        self._views: list[memoryview] = []
        self._held: Any = None
        self._is_streaming = False

    def __enter__(self) -> V4l2Device:
        with self._answers():
            self._fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._check_capabilities()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def formats(self) -> list[str]:
        """Four-character codes that the device offers."""
        with self._answers():
            return [f.pixel_format.human_str() for f in v4l2.iter_read_formats(self._fd, _CAPTURE)]

    def current_size(self) -> tuple[int, int]:
        with self._answers():
            pix = v4l2.get_raw_format(self._fd, _CAPTURE).fmt.pix
        return pix.width, pix.height

    def configure(self, fourcc: str, width: int, height: int, frame_rate: float | None) -> CaptureFormat:
        """Asks for a format; the driver may choose another size and rate, which is what comes back."""
        with self._answers():
            pix = v4l2.set_format(self._fd, _CAPTURE, width, height, fourcc).fmt.pix
            if frame_rate is not None:
                with contextlib.suppress(OSError):  # a driver with one fixed rate
                    v4l2.set_fps(self._fd, _CAPTURE, frame_rate)
            rate = 0.0
            with contextlib.suppress(OSError, ZeroDivisionError):
                rate = float(v4l2.get_fps(self._fd, _CAPTURE))
        return CaptureFormat(
            v4l2.human_pixel_format(pix.pixelformat), pix.width, pix.height, pix.bytesperline, rate
        )

    def start(self) -> None:
        with self._answers():
            count = v4l2.request_buffers(self._fd, _CAPTURE, _MMAP, _BUFFERS).count
            for index in range(count):
                buffer = v4l2.query_buffer(self._fd, _CAPTURE, _MMAP, index)
                self._maps.append(v4l2.mem_map(self._fd, buffer.length, buffer.m.offset))
                self._views.append(memoryview(self._maps[-1]))
                v4l2.enqueue_buffer(self._fd, _CAPTURE, _MMAP, 0, index)
            v4l2.stream_on(self._fd, _CAPTURE)
            self._is_streaming = True

    def dequeue(self, timeout_s: float) -> Dequeued | None:
        """The next buffer; None when none came in time. The one before goes back to the driver."""
        with self._answers():
            if self._held is not None:
                held, self._held = self._held, None
                v4l2.enqueue_buffer(self._fd, _CAPTURE, _MMAP, 0, held.index)
            poll = select.poll()
            poll.register(self._fd, select.POLLIN | select.POLLPRI)
            if not poll.poll(timeout_s * 1000):
                return None
            try:
                buffer = v4l2.dequeue_buffer(self._fd, _CAPTURE, _MMAP)
            except BlockingIOError:
                return None
        self._held = buffer
        flags = buffer.flags
        clock = flags & v4l2.BufferFlag.TIMESTAMP_MASK
        at_us = buffer.timestamp.secs * 1_000_000 + buffer.timestamp.usecs
        return Dequeued(
            data=self._views[buffer.index][: buffer.bytesused],
            monotonic_us=at_us if clock == v4l2.BufferFlag.TIMESTAMP_MONOTONIC and at_us else None,
            is_broken=bool(flags & v4l2.BufferFlag.ERROR),
        )

    def _check_capabilities(self) -> None:
        with self._answers():
            answer = v4l2.read_capabilities(self._fd)
        bits = answer.capabilities
        if bits & v4l2.Capability.DEVICE_CAPS:
            bits = answer.device_caps
        if not bits & v4l2.Capability.VIDEO_CAPTURE or not bits & v4l2.Capability.STREAMING:
            raise CaptureError(
                f"{self._path} does not capture video.",
                hint="A camera often has several devices; the first of them is the picture.",
            )

    def _close(self) -> None:
        # A device that was pulled out answers nothing more; what is left is to let go.
        with contextlib.suppress(OSError):
            if self._is_streaming:
                v4l2.stream_off(self._fd, _CAPTURE)
        self._is_streaming = False
        # A slice that somebody still holds keeps the mapping until it goes.
        for view in self._views:
            with contextlib.suppress(BufferError):
                view.release()
        for mapped in self._maps:
            with contextlib.suppress(BufferError):
                mapped.close()
        self._views, self._maps = [], []
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what, hint = _HINTS.get(
                error.errno or 0, (f"fails: {error.strerror or error}", "See the kernel's log (dmesg).")
            )
            raise CaptureError(f"{self._path} {what}.", hint=hint) from None
