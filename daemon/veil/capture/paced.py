"""A file in place of a camera: its frames at the speed of their timestamps."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

from veil.capture.source import Source
from veil.domain.clock import NANOSECONDS, Clock, media_ns
from veil.frames.raw import RawFrame


class PacedSource:
    """Gives each frame of a file when a camera would have. Ends with the file.

    Args:
        source: a file; it waits where nobody takes frames.
    """

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._closed = threading.Event()

    @property
    def is_live(self) -> bool:
        return True

    def frames(self) -> Iterator[RawFrame]:
        start_ns: int | None = None
        for raw in self._source.frames():
            media = media_ns(raw.info.pts, raw.info.time_base)
            now_ns = self._clock.monotonic_ns()
            if start_ns is None:
                start_ns = now_ns - media
            if self._closed.wait(max(0, start_ns + media - now_ns) / NANOSECONDS):
                raw.release()
                return
            raw.info = dataclasses.replace(raw.info, captured_ns=self._clock.monotonic_ns())
            yield raw

    def close(self) -> None:
        self._closed.set()
        self._source.close()
