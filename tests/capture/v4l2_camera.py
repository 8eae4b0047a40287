"""A V4L2 camera below linuxpy: the answers of a real driver to each ioctl, frames through a FIFO.

The structures are filled as `uvcvideo` (Logitech C920) and `vivid` fill them: bytesperline and sizeimage,
 DEVICE_CAPS, monotonic timestamps with start-of-exposure flag, ENOTTY/EINVAL at the end of lists.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from linuxpy.video import device as v4l2
from linuxpy.video import raw

IOC = v4l2.IOC
_CAPTURE_CAPS = 0x85200001  # VIDEO_CAPTURE | EXT_PIX_FORMAT | STREAMING | DEVICE_CAPS
_META_CAPS = 0x84A00000  # what uvcvideo's second node says


@dataclass
class Camera:
    """A device at `path`.

    Attributes:
        formats: offered, as V4L2 writes them.
        size: current; `limit` is the largest that it gives.
        errors: ioctl -> errno to answer with from now on.
        clock_flags: of the buffers (default: monotonic, start of exposure).
        asked: ioctls in order.
    """

    path: Path
    formats: tuple[str, ...] = ("YUYV", "MJPG")
    size: tuple[int, int] = (64, 48)
    limit: tuple[int, int] = (1920, 1080)
    padding: int = 0
    capabilities: int = _CAPTURE_CAPS
    clock_flags: int = 0x12000
    errors: dict[int, int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    rate: float = 30.0

    def __post_init__(self) -> None:
        os.mkfifo(self.path)
        self._feed = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.fourcc = self.formats[0] if self.formats else "YUYV"
        self._buffers: list[mmap.mmap] = []
        self._queued: list[int] = []
        self._filled: list[tuple[int, int, int, int]] = []
        self._lock = threading.Lock()
        self._number = 0

    def close(self) -> None:
        os.close(self._feed)

    @property
    def line(self) -> int:
        width = self.size[0]
        return {"YUYV": width * 2, "NV12": width}.get(self.fourcc, 0) + self.padding

    @property
    def image_bytes(self) -> int:
        rows = {"YUYV": self.size[1], "NV12": self.size[1] * 3 // 2}.get(self.fourcc, 0)
        return self.line * rows or self.size[0] * self.size[1] * 2

    def send(self, data: bytes, *, at_us: int, flags: int = 0) -> None:
        """One filled buffer, as the sensor's interrupt would make it; waits for a queued one."""
        deadline = time.monotonic() + 10
        while True:
            with self._lock:
                if self._queued:
                    index = self._queued.pop(0)
                    self._buffers[index][: len(data)] = data
                    self._filled.append((index, len(data), at_us, flags))
                    os.write(self._feed, b"x")
                    return
            assert time.monotonic() < deadline, "nobody gives buffers back"
            time.sleep(0.001)

    def unplug(self) -> None:
        """What uvcvideo answers once the plug is out."""
        self.errors |= {int(IOC.DQBUF): errno.ENODEV, int(IOC.QBUF): errno.ENODEV}
        os.write(self._feed, b"x")

    def plug_in(self) -> None:
        with self._lock:
            self._queued, self._filled = [], []
            os.read(self._feed, 100)
        self.errors.clear()

    def map(self, _fd: int, length: int, offset: int) -> mmap.mmap:
        buffer = self._buffers[offset // 4096]
        assert len(buffer) == length
        return buffer

    def ioctl(self, fd: int, request: int, argument: Any = None, *_: Any) -> int:
        request = int(request)
        self.asked.append(request)
        if request in self.errors:
            raise OSError(self.errors[request], os.strerror(self.errors[request]))
        answer: Callable[[int, Any], None] | None = {
            int(IOC.QUERYCAP): self._querycap,
            int(IOC.ENUM_FMT): self._enum_fmt,
            int(IOC.G_FMT): self._g_fmt,
            int(IOC.S_FMT): self._s_fmt,
            int(IOC.S_PARM): self._s_parm,
            int(IOC.G_PARM): self._g_parm,
            int(IOC.REQBUFS): self._reqbufs,
            int(IOC.QUERYBUF): self._querybuf,
            int(IOC.QBUF): self._qbuf,
            int(IOC.DQBUF): self._dqbuf,
            int(IOC.STREAMON): lambda fd, a: None,
            int(IOC.STREAMOFF): lambda fd, a: None,
        }.get(request)
        if answer is None:
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        answer(fd, argument)
        return 0

    def _querycap(self, _fd: int, cap: Any) -> None:
        cap.driver, cap.card, cap.bus_info = b"uvcvideo", b"HD Pro Webcam C920", b"usb-0000:00:14.0-1"
        cap.capabilities, cap.device_caps = 0x84A00001, self.capabilities

    def _enum_fmt(self, _fd: int, fmt: Any) -> None:
        if fmt.index >= len(self.formats):
            raise OSError(errno.EINVAL, "end")
        fmt.pixelformat = raw.v4l2_fourcc(*self.formats[fmt.index])
        fmt.description = self.formats[fmt.index].encode()
        fmt.flags = 1 if self.formats[fmt.index] == "MJPG" else 0

    def _g_fmt(self, _fd: int, fmt: Any) -> None:
        pix = fmt.fmt.pix
        pix.width, pix.height = self.size
        pix.pixelformat = raw.v4l2_fourcc(*self.fourcc)
        pix.bytesperline, pix.sizeimage = self.line, self.image_bytes
        pix.field, pix.colorspace = 1, 8

    def _s_fmt(self, fd: int, fmt: Any) -> None:
        pix = fmt.fmt.pix
        wanted = v4l2.human_pixel_format(pix.pixelformat)
        self.fourcc = wanted if wanted in self.formats else self.formats[0]
        self.size = min(pix.width, self.limit[0]), min(pix.height, self.limit[1])
        self._g_fmt(fd, fmt)

    def _s_parm(self, fd: int, parm: Any) -> None:
        interval = parm.parm.capture.timeperframe
        self.rate = interval.denominator / interval.numerator
        self._g_parm(fd, parm)

    def _g_parm(self, _fd: int, parm: Any) -> None:
        interval = parm.parm.capture.timeperframe
        interval.numerator, interval.denominator = 1000, round(self.rate * 1000)

    def _reqbufs(self, _fd: int, request: Any) -> None:
        with self._lock:
            self._buffers = [mmap.mmap(-1, self.image_bytes) for _ in range(request.count)]
            self._queued, self._filled = [], []

    def _querybuf(self, _fd: int, buffer: Any) -> None:
        buffer.length, buffer.m.offset = self.image_bytes, buffer.index * 4096

    def _qbuf(self, _fd: int, buffer: Any) -> None:
        with self._lock:
            assert buffer.index not in self._queued
            self._queued.append(buffer.index)

    def _dqbuf(self, fd: int, buffer: Any) -> None:
        os.read(fd, 1)
        with self._lock:
            index, used, at_us, flags = self._filled.pop(0)
        buffer.index, buffer.bytesused, buffer.flags = index, used, flags | self.clock_flags
        buffer.timestamp.secs, buffer.timestamp.usecs = divmod(at_us, 1_000_000)
        buffer.sequence, self._number = self._number, self._number + 1


def install(monkeypatch: pytest.MonkeyPatch, camera: Camera) -> None:
    """Puts the camera below linuxpy."""
    monkeypatch.setattr("linuxpy.ioctl.fcntl", SimpleNamespace(ioctl=camera.ioctl))
    monkeypatch.setattr(
        "linuxpy.video.device.mmap",
        SimpleNamespace(mmap=camera.map),
    )
