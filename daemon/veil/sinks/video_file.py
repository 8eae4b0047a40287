"""A masked stream as one file. It carries its final name only when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from veil.encode.packet import MaskedPacket
from veil.errors import SinkError, UsageError
from veil.sinks.beside import part_beside, remove_left_parts, remove_part, sync
from veil.sinks.mux import add_stream, as_packet

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".ts": "mpegts"}

_LONGEST_STEP_TICKS = 2**31 - 1
_LEAST_TICKS_A_SECOND = 10_000


def container_format(path: Path) -> str:
    """The container for `path`'s suffix. Raises UsageError for one that is not known."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        raise UsageError(
            f"{path.name}: unknown kind of video file.", hint=f"Use one of {known} for the output."
        ) from None


class VideoFile:
    """A context manager: leaving it normally makes the file complete and gives it its name.

    Until then there is only `.NAME.PID.part` beside it, which an error removes. Timestamps are those of the
    packets; no metadata is written. Raises SinkError where the file cannot be written.

    Args:
        whole: called with the complete file, safe on disk, before it gets its name; where it raises, the file
            goes.
    """

    def __init__(self, path: Path, whole: Callable[[Path], None] = lambda _: None) -> None:
        self._path = path
        self._whole = whole
        self._format = container_format(path)
        self._part = part_beside(path)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last_dts: int | None = None
        self.packets = 0

    def __enter__(self) -> VideoFile:
        remove_left_parts(self._path)
        try:
            options = {"fflags": "+bitexact", "movflags": "+faststart", "avoid_negative_ts": "disabled"}
            if self._format not in {"mp4", "mov"}:
                del options["movflags"]
            self._container = av.open(f"file:{self._part}", "w", format=self._format, options=options)
        except (av.FFmpegError, OSError) as error:
            raise self._error(error) from error
        return self

    def publish(self, packet: MaskedPacket) -> None:
        container = self._container
        if container is None:
            raise SinkError(f"{self._path} is not open.")
        self._check_step(packet)
        try:
            if self._stream is None:
                self._stream = add_stream(container, packet)
            container.mux_one(as_packet(packet, self._stream))
        except (av.FFmpegError, OSError) as error:
            raise self._error(error) from error
        self.packets += 1

    def _check_step(self, packet: MaskedPacket) -> None:
        """MP4 holds the time between two pictures in 31 bits; longer ones would shrink to nothing."""
        last, self._last_dts = self._last_dts, packet.dts
        if last is None or self._format not in {"mp4", "mov"}:
            return
        ticks = packet.stream.time_base.denominator
        while ticks < _LEAST_TICKS_A_SECOND:
            # As the muxer does.
            ticks *= 2
        step_s = (packet.dts - last) * packet.stream.time_base
        if step_s * ticks > _LONGEST_STEP_TICKS:
            raise SinkError(
                f"{self._path} cannot hold a gap of {float(step_s):.0f} s between two pictures.",
                hint="Write a .mkv file, which can.",
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        container, self._container = self._container, None
        if container is None:
            return
        try:
            container.close()
            if kind is None:
                sync(self._part)
                self._whole(self._part)
                self._part.replace(self._path)
        except (av.FFmpegError, OSError) as failure:
            if kind is None:
                raise self._error(failure) from failure
        finally:
            remove_part(self._part)

    def _error(self, error: Exception) -> SinkError:
        reason = getattr(error, "strerror", None) or str(error)
        return SinkError(f"{self._path} cannot be written: {reason}.", hint="Check space and permissions.")
