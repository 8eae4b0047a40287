"""Reads a network stream's packets on a thread of its own, so that nothing can hang the camera."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import TracebackType
from typing import Final, TypeAlias

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from veil.capture.decoder import frame_rate_of
from veil.errors import CaptureError, VeilError

_BOUND: Final = 64


class Phase(StrEnum):
    """How far a connection has come."""

    OPENING = "opening"
    READING = "reading"


@dataclass(frozen=True, slots=True)
class Opened:
    """The connection stands, and what is known of its video stream. The stream itself ends with the
    connection, at any moment, and touching it then would crash the process."""

    context: VideoCodecContext | None
    time_base: Fraction
    frame_rate: float


@dataclass(frozen=True, slots=True)
class Lost:
    """`count` packets were thrown away because they were not taken; the next packet is a keyframe."""

    count: int


Item: TypeAlias = "Opened | Packet[VideoStream] | Lost"


class PacketReader:
    """A thread that opens a stream, reads it and hands packets over through a bounded queue.

    The reader of `get` decides how long it waits; a thread stuck inside the codec library (name resolution, a
    driver) is left behind, and ends by the library's own timeouts. When packets are not taken in time, all of
    them up to the next keyframe go.

    Args:
        open_stream: opens the container; runs on the thread. May raise CaptureError.
        failure: turns an error of the codec library into ours, without addresses in it.
    """

    def __init__(
        self,
        open_stream: Callable[[], InputContainer],
        failure: Callable[[av.FFmpegError, Phase], CaptureError],
        bound: int = _BOUND,
    ) -> None:
        self._open_stream = open_stream
        self._failure = failure
        self._bound = bound
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._phase = Phase.OPENING
        self._lost = 0
        self._error: VeilError | None = None
        self._is_ended = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="veil-packets", daemon=True)

    def __enter__(self) -> PacketReader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._items.clear()

    def ended_within(self, timeout_s: float) -> bool:
        """Whether the thread has ended, after waiting up to `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def get(self, timeout_s: float) -> Item | None:
        """The next item, None when none came in time.

        Raises:
            CaptureError: the stream broke, or could not be opened.
            EOFError: the camera ended it.
        """
        with self._changed:
            if not self._items and self._error is None and not self._is_ended:
                self._changed.wait(timeout_s)
            if self._items:
                return self._items.popleft()
            if self._error is not None:
                raise self._error
            if self._is_ended:
                raise EOFError
            return None

    def _run(self) -> None:
        error: VeilError | None = None
        try:
            self._read()
        except VeilError as failure:
            error = failure
        except av.FFmpegError as failure:
            error = self._failure(failure, self._phase)
        # Outside of the handler: the library's exception holds the address and must not stay attached.
        with self._changed:
            self._error = error
            self._is_ended = True
            self._changed.notify_all()

    def _read(self) -> None:
        with self._open_stream() as container:
            stream = container.streams.best("video")
            if not isinstance(stream, VideoStream):
                raise CaptureError("The camera's stream has no video in it.", hint="Check the stream's path.")
            self._phase = Phase.READING
            assert stream.time_base is not None  # noqa: S101  network streams have one
            self._put(Opened(stream.codec_context, stream.time_base, frame_rate_of(stream)))
            for packet in container.demux(stream):
                if not self._put(packet):
                    return

    def _put(self, item: Item) -> bool:
        with self._changed:
            if self._is_closed:
                return False
            if isinstance(item, Packet):
                if not item.size:
                    return True
                if len(self._items) >= self._bound:
                    self._lost += sum(isinstance(old, Packet) for old in self._items)
                    self._items.clear()
                if self._lost:
                    if not item.is_keyframe:
                        self._lost += 1
                        return True
                    self._items.append(Lost(self._lost))
                    self._lost = 0
            self._items.append(item)
            self._changed.notify_all()
            return True
