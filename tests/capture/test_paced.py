"""A file in place of a camera runs at the speed of its timestamps, and stops when asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from frames_made import SECOND, info, noise
from veil.capture.paced import PacedSource
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame


class File:
    is_live = False

    def __init__(self, frames: int) -> None:
        self.pool = SlotPool(64, 48, 2)
        self._frames = frames

    def frames(self) -> Iterator[RawFrame]:
        for number in range(self._frames):
            yield noise(self.pool, info(number))

    def close(self) -> None: ...


class Clock:
    """Stands still: each frame is due later than the one before by its distance in the file."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic_ns(self) -> int:
        return 5 * SECOND

    def wall_ns(self) -> int:
        return 0


def test_frames_wait_for_their_time_and_say_when_they_came() -> None:
    file, clock = File(4), Clock()
    source = PacedSource(file, clock)
    waits: list[float] = []
    source._closed.wait = lambda timeout=None: waits.append(timeout or 0.0) or False  # type: ignore[method-assign,func-returns-value]
    for raw in source.frames():
        assert raw.info.captured_ns == 5 * SECOND
        raw.release()
    assert [round(wait, 3) for wait in waits] == [0.0, 0.04, 0.08, 0.12]
    assert file.pool.free == 2


def test_closing_ends_the_wait_and_gives_the_frame_back() -> None:
    file = File(100)
    source = PacedSource(file, Clock())
    seen: list[int] = []

    def read() -> None:
        for raw in source.frames():
            seen.append(raw.info.sequence)
            raw.release()

    reader = threading.Thread(target=read)
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert file.pool.free == 2
