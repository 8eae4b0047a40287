"""Wires one camera: capture -Latest-> detect + track -Reliable-> mask + encode -> sinks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from veil.analyse import Analysed, Analyser
from veil.audit.event import Event, Kind
from veil.audit.log import EventSink
from veil.capture.picture_health import PictureHealth, PictureState
from veil.capture.source import DropReason, PoolProvider, Source
from veil.channel import ChannelClosedError, Latest, Reliable
from veil.domain.clock import NANOSECONDS, Clock
from veil.emit import Emitter
from veil.errors import PipelineError, VeilError
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.stats import CameraStats

_SLOTS_BESIDE_LOOKBACK = 8
_MOST_SLOTS = 512


class Pools(PoolProvider):
    """One pool for the present picture size. An old one lives until its last frame has come back to it.

    Args:
        lookback_s: decides, with the frame rate, how many frames wait at a time.
        max_frame_rate: bound for what a source may claim.
    """

    def __init__(self, lookback_s: float, max_frame_rate: float = 60.0) -> None:
        self._lookback_s = lookback_s
        self._max_frame_rate = max_frame_rate
        self._pool: SlotPool | None = None
        self._size = (0, 0)

    def waiting(self, frame_rate: float) -> int:
        """How many frames the look-back holds."""
        return min(_MOST_SLOTS, int(self._lookback_s * min(frame_rate, self._max_frame_rate)) + 2)

    def pool(self, width: int, height: int, frame_rate: float) -> SlotPool:
        if self._pool is None or self._size != (width, height):
            self._pool = SlotPool(width, height, self.waiting(frame_rate) + _SLOTS_BESIDE_LOOKBACK)
            self._size = (width, height)
        return self._pool


class Observer:
    """Turns what capture tells into counts and evidence."""

    def __init__(self, stats: CameraStats, log: EventSink) -> None:
        self._stats = stats
        self._log = log
        self.frame_rate = 30.0

    def connected(self, width: int, height: int, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        self._stats.connection(connected=True)
        self._log.append(Event(Kind.SOURCE_CONNECTED, {"width": width, "height": height}))

    def disconnected(self, error: VeilError, retry_in_s: float) -> None:
        self._stats.connection(connected=False)
        self._stats.reconnected()
        self._log.append(
            Event(Kind.SOURCE_LOST, {"error": type(error).__name__, "retry_in_ms": int(retry_in_s * 1000)})
        )

    def dropped(self, reason: DropReason) -> None:
        self._stats.dropped(str(reason))


class Way(Protocol):
    """How frames move on from capture: for live cameras the newest counts, for files each one."""

    def put(self, raw: RawFrame) -> None: ...

    def get(self, timeout_s: float) -> RawFrame | None: ...

    def close(self) -> None: ...

    def drain(self) -> list[RawFrame]: ...


class LiveWay(Latest[RawFrame]):
    """Two frames at most; older ones are dropped, before masking, and counted."""

    def __init__(self, stats: CameraStats) -> None:
        def drop(raw: RawFrame) -> None:
            raw.release()
            stats.dropped(str(DropReason.DETECTOR_SLOW))

        super().__init__(2, drop)


class FileWay(Reliable[RawFrame]):
    """Two frames at most; capture waits."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(2)
        self._patience_s = patience_s

    def put(self, item: RawFrame, timeout_s: float | None = None) -> None:
        super().put(item, self._patience_s if timeout_s is None else timeout_s)


@dataclass(frozen=True)
class Parts:
    """What a pipeline runs on. Made by `veil.camera` and `veil.anonymize`; tests put faults inside."""

    source: Source
    analyser: Analyser
    emitter: Emitter
    way: Way
    stats: CameraStats
    log: EventSink
    clock: Clock
    patience_s: float


class Pipeline:
    """Three threads and the channels between them. The first error of any stage ends all of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._between: Reliable[Analysed] = Reliable(4)
        self._stop = threading.Event()
        self._failed = threading.Event()
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._health = PictureHealth()
        self._picture = PictureState.OK
        self._last_beat_ns = parts.clock.monotonic_ns()

    def run(self) -> None:
        """Until the source ends or `stop` is called. Raises the first error of any stage."""
        threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=name, daemon=True)
            for name, stage in (
                ("capture", self._capture),
                ("analyse", self._analyse),
                ("output", self._output),
            )
        ]
        for thread in threads:
            thread.start()
        self._watch(threads)
        self._parts.source.close()
        for raw in self._parts.way.drain():
            raw.release()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """From any thread or signal handler: capture ends, everything inside leaves masked."""
        self._stop.set()

    def is_moving(self) -> bool:
        """Whether the output stage has turned within the last seconds (frames or slates)."""
        silent_ns = self._parts.clock.monotonic_ns() - self._last_beat_ns
        return silent_ns < self._parts.patience_s * NANOSECONDS

    def _watch(self, threads: list[threading.Thread]) -> None:
        closing = False
        output = threads[-1]
        while any(thread.is_alive() for thread in threads):
            output.join(0.1)
            if (self._stop.is_set() or self._failed.is_set()) and not closing:
                closing = True
                self._parts.source.close()
                self._last_beat_ns = self._parts.clock.monotonic_ns()
            silent_s = (self._parts.clock.monotonic_ns() - self._last_beat_ns) / NANOSECONDS
            if silent_s > self._parts.patience_s:
                self._fail(PipelineError(f"The output stage has not moved for {silent_s:.0f} s."))
                return
            if not output.is_alive() and self._failed.is_set():
                for thread in threads:
                    thread.join(1.0)
                return

    def _guarded(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except ChannelClosedError as error:
            if not self._stop.is_set():
                self._fail(error)
        except BaseException as error:  # noqa: BLE001  run() raises it on the caller's thread
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._error_lock:
            if self._error is None:
                self._error = error
        self._failed.set()
        self._parts.way.close()
        self._between.close()

    def _capture(self) -> None:
        parts = self._parts
        try:
            for raw in parts.source.frames():
                parts.stats.captured(parts.clock.monotonic_ns())
                try:
                    self._look_at_picture(raw)
                    parts.way.put(raw)
                except BaseException:
                    raw.release()
                    raise
        finally:
            parts.way.close()

    def _look_at_picture(self, raw: RawFrame) -> None:
        state = self._health.update(raw.planes.y, raw.info.captured_ns)
        if state is not self._picture:
            self._picture = state
            self._parts.stats.picture(str(state))
            self._parts.log.append(Event(Kind.PICTURE_STATE, {"state": str(state)}))

    def _analyse(self) -> None:
        parts = self._parts
        try:
            while True:
                try:
                    raw = parts.way.get(0.5)
                except ChannelClosedError:
                    return
                if raw is None:
                    continue
                try:
                    self._between.put(parts.analyser.analyse(raw), parts.patience_s)
                except BaseException:
                    raw.release()
                    raise
        finally:
            self._between.close()

    def _output(self) -> None:
        parts = self._parts
        try:
            while not self._failed.is_set():
                try:
                    item = self._between.get(0.05)
                except ChannelClosedError:
                    break
                if item is not None:
                    parts.emitter.accept(item)
                parts.emitter.tick()
                self._last_beat_ns = parts.clock.monotonic_ns()
            if not self._failed.is_set():
                parts.emitter.finish()
        finally:
            for item in self._between.drain():
                item.raw.release()
            parts.emitter.abandon()
