"""Wires one camera: capture -Latest-> detect + track -Reliable-> mask + encode -> sinks."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
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

_MOST_BEHIND = 6
_OLDEST_NS = NANOSECONDS // 5
_SLOTS_BESIDE_LOOKBACK = 6 + _MOST_BEHIND
_MOST_SLOTS = 512
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class Pools(PoolProvider):
    """One pool for the present picture size. An old one lives until its last frame has come back to it.

    Args:
        lookback_s: decides, with the frame rate, how many frames wait at a time.
        least_frame_rate: sources often say less than they send, and some say nothing.
        max_frame_rate: bound for what a source may claim.
    """

    def __init__(
        self, lookback_s: float, *, least_frame_rate: float = 30.0, max_frame_rate: float = 60.0
    ) -> None:
        self._lookback_s = lookback_s
        self._rates = least_frame_rate, max_frame_rate
        self._pool: SlotPool | None = None
        self._size = (0, 0)

    @property
    def room(self) -> int:
        """How many frames may wait for their look-back in the present pool."""
        return self._pool.count - _SLOTS_BESIDE_LOOKBACK if self._pool is not None else 1

    def pool(self, width: int, height: int, frame_rate: float) -> SlotPool:
        needed = self._waiting(frame_rate) + _SLOTS_BESIDE_LOOKBACK
        if self._pool is None or self._size != (width, height) or self._pool.count < needed:
            self._pool = SlotPool(width, height, needed)
            self._size = (width, height)
        return self._pool

    def _waiting(self, frame_rate: float) -> int:
        least, most = self._rates
        return min(_MOST_SLOTS, int(self._lookback_s * min(max(frame_rate, least), most)) + 2)


def _nobody(message: str, hint: str) -> None:
    del message, hint


class Observer:
    """Turns what capture tells into counts, evidence, and words for the operator.

    Args:
        tell: called with a message and what to do: that the source is away, once for each reason, and when it
            is back. A reason stays the same whatever numbers are in it.
    """

    def __init__(
        self, stats: CameraStats, log: EventSink, tell: Callable[[str, str], None] = _nobody
    ) -> None:
        self._stats = stats
        self._log = log
        self._tell = tell
        self._told = ""
        self.frame_rate = 30.0

    def connected(self, width: int, height: int, frame_rate: float) -> None:
        self.frame_rate = frame_rate
        if self._told:
            self._told = ""
            self._tell(f"connected, {width}x{height}.", "")
        self._stats.connection(connected=True)
        self._log.append(Event(Kind.SOURCE_CONNECTED, {"width": width, "height": height}))

    def disconnected(self, error: VeilError, retry_in_s: float) -> None:
        reason = _NUMBER.sub("", error.message)
        if reason != self._told:
            self._told = reason
            self._tell(error.message, error.hint)
        self._stats.connection(connected=False, fault=error.message)
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
    """Six frames at most, and two that lie further apart than a fifth of a second; older ones are dropped,
    before masking, and counted.

    For as long a machine that does something else may hold up a detector that is fast enough otherwise. It
    then catches up.

    Args:
        patience_s: for so long after a connection capture waits for the detector instead. A network camera's
            first packets come all at once, when the library has seen enough of them, and wait undecoded at no
            cost.
    """

    def __init__(self, stats: CameraStats, patience_s: float = 0.0) -> None:
        def drop(raw: RawFrame) -> None:
            raw.release()
            stats.dropped(str(DropReason.DETECTOR_SLOW))

        super().__init__(_MOST_BEHIND, drop)
        self._patience_s = patience_s
        self._epoch = -1
        self._patient_until = 0.0

    def put(self, item: RawFrame) -> None:
        if self._patience_s:
            now = time.monotonic()
            if item.info.epoch != self._epoch:
                self._epoch, self._patient_until = item.info.epoch, now + self._patience_s
            if now < self._patient_until:
                self.wait_for_room(1, self._patient_until - now)
        super().put(item)

    def _is_full_for(self, item: RawFrame) -> bool:
        waiting = self._items
        is_old = len(waiting) > 1 and item.info.captured_ns - waiting[0].info.captured_ns > _OLDEST_NS
        return is_old or super()._is_full_for(item)


class FileWay(Reliable[RawFrame]):
    """Two frames at most; capture waits."""

    def __init__(self, patience_s: float) -> None:
        super().__init__(2)
        self._patience_s = patience_s

    def put(self, item: RawFrame, timeout_s: float | None = None) -> None:
        super().put(item, self._patience_s if timeout_s is None else timeout_s)


@dataclass(frozen=True)
class Parts:
    """What a pipeline runs on. Made by `veil.camera` and `veil.anonymize`; tests put faults inside.

    Attributes:
        patience_s: how long the output stage may stand still.
        opening_patience_s: the same until the first picture has left, where that is longer: a first encoder
            and a first connection take a slow box some seconds.
        source_patience_s: how long a live source may do nothing at all, not even fail to connect: then it
            hangs in native code. Longer than its longest wait between two connections and their timeouts.
    """

    source: Source
    analyser: Analyser
    emitter: Emitter
    way: Way
    stats: CameraStats
    log: EventSink
    clock: Clock
    patience_s: float
    opening_patience_s: float = 0.0
    source_patience_s: float = 240.0


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
        self._epoch = -1
        self._last_beat_ns = self._last_analysis_ns = parts.clock.monotonic_ns()
        self._captured = self._accepted = -1

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
        self._parts.way.close()
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
        return silent_ns < self._patience_s * NANOSECONDS

    @property
    def _patience_s(self) -> float:
        parts = self._parts
        if parts.stats.has_sent or self._stop.is_set():
            return parts.patience_s
        return max(parts.patience_s, parts.opening_patience_s)

    def _watch(self, threads: list[threading.Thread]) -> None:
        """Until all stages have ended, or one has to be left behind because it hangs in native code."""
        parts, output = self._parts, threads[-1]
        closing_s: float | None = None
        while any(thread.is_alive() for thread in threads):
            output.join(0.1)
            if (self._stop.is_set() or self._failed.is_set()) and closing_s is None:
                closing_s = time.monotonic()
                parts.source.close()
                # A source that hangs must not keep what it delivered from leaving.
                parts.way.close()
                self._last_beat_ns = parts.clock.monotonic_ns()
            now_ns = parts.clock.monotonic_ns()
            silent_s = (now_ns - self._last_beat_ns) / NANOSECONDS
            if output.is_alive() and silent_s > self._patience_s:
                self._fail(PipelineError(f"The output stage has not moved for {silent_s:.0f} s."))
                return
            # An answer of the detector and room behind it are each waited for with a deadline.
            silent_s = (now_ns - self._last_analysis_ns) / NANOSECONDS
            if threads[1].is_alive() and silent_s > 3 * self._patience_s:
                self._fail(PipelineError(f"The analysis stage has not moved for {silent_s:.0f} s."))
                return
            silent_s = (time.monotonic_ns() - parts.stats.sign_ns) / NANOSECONDS
            is_hanging = parts.source.is_live and silent_s > parts.source_patience_s
            if closing_s is None and threads[0].is_alive() and is_hanging:
                self._fail(PipelineError(f"The source has not moved for {silent_s:.0f} s."))
            if closing_s is not None and not output.is_alive():
                for thread in threads:
                    thread.join(max(0.0, closing_s + 1.0 - time.monotonic()))
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
            # A closed channel is what the others see of the stage that really failed.
            if self._error is None or isinstance(self._error, ChannelClosedError):
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
                    self._captured = raw.info.sequence
                    parts.way.put(raw)
                except BaseException:
                    raw.release()
                    parts.stats.dropped("stopped")
                    raise
        finally:
            parts.way.close()

    def _look_at_picture(self, raw: RawFrame) -> None:
        """That a live camera froze, went black or was covered is said in the log and on the picture."""
        if not self._parts.source.is_live:
            return
        if raw.info.epoch != self._epoch:
            self._epoch, self._health = raw.info.epoch, PictureHealth()
        state = self._health.update(raw.planes.y, raw.info.captured_ns)
        if state is not self._picture:
            self._picture = state
            self._parts.stats.picture(str(state))
            self._parts.log.append(Event(Kind.PICTURE_STATE, {"state": str(state)}))
        if state is not PictureState.OK:
            raw.info = dataclasses.replace(raw.info, mark=f"picture {state}")

    def _analyse(self) -> None:
        parts = self._parts
        try:
            while True:
                self._last_analysis_ns = parts.clock.monotonic_ns()
                try:
                    raw = parts.way.get(0.5)
                except ChannelClosedError:
                    return
                if raw is None:
                    continue
                try:
                    self._between.put(parts.analyser.analyse(raw), self._patience_s)
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
                    self._accepted = item.raw.info.sequence
                elif self._accepted == self._captured:
                    parts.emitter.expect_nothing()
                parts.emitter.tick()
                self._last_beat_ns = parts.clock.monotonic_ns()
            if not self._failed.is_set():
                parts.emitter.finish()
        finally:
            # Closed first, or a frame could slip in behind the drain.
            self._between.close()
            for item in self._between.drain():
                item.raw.release()
            parts.emitter.abandon()
