"""What the three threads of a camera promise: who drops, who waits, and that the first error ends all."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from fault.parts import MadeSource
from fault.switches import Switches
from oracle import OracleDetector
from pipeline.output_made import Notes
from veil.analyse import Analysed, Analyser
from veil.capture.source import DropReason, Source
from veil.channel import ChannelClosedError
from veil.detect.guard import DetectorGuard
from veil.domain.clock import SystemClock
from veil.errors import CaptureError, LogError, PipelineError, StreamStalledError
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.pipeline import FileWay, LiveWay, Observer, Parts, Pipeline, Pools, Way
from veil.stats import CameraStats


@dataclass
class _Emitter:
    """Takes frames, at the pace that is asked of it."""

    pause_s: float = 0.0
    taken: list[int] = field(default_factory=list)
    finished: bool = False
    abandoned: bool = False
    raises: BaseException | None = None

    def accept(self, item: Analysed) -> None:
        with item.raw:
            self.taken.append(item.raw.info.sequence)
            time.sleep(self.pause_s)
            if self.raises is not None:
                raise self.raises

    def expect_nothing(self) -> None: ...

    def tick(self) -> None: ...

    def finish(self) -> None:
        self.finished = True

    def abandon(self) -> None:
        self.abandoned = True


class _Tracker:
    def update(self, detections: Any, now_ns: int) -> tuple[()]:
        return ()

    def reset(self) -> None: ...


class _Counted:
    """A source that ends after so many frames; as a file does, it waits for slots."""

    def __init__(self, inner: MadeSource, pool: SlotPool, frames: int) -> None:
        self._inner, self._pool, self._frames = inner, pool, frames

    @property
    def is_live(self) -> bool:
        return False

    def close(self) -> None:
        self._inner.close()

    def frames(self) -> Iterator[RawFrame]:
        frames = self._inner.frames()
        for _ in range(self._frames):
            while not self._pool.free:
                time.sleep(0.001)
            yield next(frames)


class Camera:
    """A pipeline from a made source to a made emitter. A context manager."""

    def __init__(self, emitter: _Emitter, *, rate: float = 200.0, patience_s: float = 5.0) -> None:
        self.emitter, self.patience_s, self.opening_patience_s = emitter, patience_s, 0.0
        self.switches, self.stats, self.log = Switches(), CameraStats(), Notes()
        clock = SystemClock()
        self.pools = Pools(0.1)
        self.source: Source = MadeSource(
            self.switches,
            self.pools,
            Observer(self.stats, self.log),
            clock,
            rate=rate,
            size=(160, 120),
            counter=itertools.count(),
        )
        self.guard = DetectorGuard(
            OracleDetector(), deadline_s=5.0, stuck_after_s=5.0, clock=clock, failed=lambda text: None
        )
        self.tracker: Any = _Tracker()
        self.source_patience_s = 240.0
        self.way: Way = LiveWay(self.stats)

    @property
    def pool(self) -> SlotPool:
        return self.pools.pool(160, 120, 30.0)

    def pipeline(self) -> Pipeline:
        return Pipeline(
            Parts(
                source=self.source,
                analyser=Analyser(self.guard, self.tracker, self.stats),
                emitter=self.emitter,  # type: ignore[arg-type]
                way=self.way,
                stats=self.stats,
                log=self.log,
                clock=SystemClock(),
                patience_s=self.patience_s,
                opening_patience_s=self.opening_patience_s,
                source_patience_s=self.source_patience_s,
            )
        )

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.guard.close()

    def run_for(self, seconds: float) -> None:
        pipeline = self.pipeline()
        timer = threading.Timer(seconds, pipeline.stop)
        timer.start()
        pipeline.run()
        timer.join()


def test_a_source_that_is_away_is_told_once_for_each_reason_and_when_it_is_back() -> None:
    told: list[tuple[str, str]] = []
    stats = CameraStats()
    observer = Observer(stats, Notes(), lambda message, hint: told.append((message, hint)))
    observer.connected(640, 360, 25.0)
    assert told == []
    silent = [StreamStalledError(f"cam has sent no picture for {s} s.", hint="Look.") for s in (4.5, 4.6, 12)]
    for error in (*silent, CaptureError("cam refuses."), CaptureError("cam refuses.")):
        observer.disconnected(error, 1.0)
        assert stats.snapshot().fault == error.message
    observer.connected(640, 360, 25.0)
    assert stats.snapshot().fault == ""
    observer.connected(320, 240, 25.0)
    observer.disconnected(silent[0], 1.0)
    stalled = ("cam has sent no picture for 4.5 s.", "Look.")
    assert told == [stalled, ("cam refuses.", ""), ("connected, 640x360.", ""), stalled]


def test_the_live_way_drops_the_oldest_frame_and_counts_it() -> None:
    stats, pool = CameraStats(), SlotPool(64, 48, 8)
    from frames_made import info, noise

    way = LiveWay(stats)
    frames = [noise(pool, info(number)) for number in range(8)]
    for frame in frames:
        way.put(frame)
    assert [raw.info.sequence for raw in way.drain()] == [2, 3, 4, 5, 6, 7]
    assert stats.snapshot().dropped == {str(DropReason.DETECTOR_SLOW): 2}
    assert pool.free == 2


def test_frames_of_a_slow_camera_wait_no_longer_than_those_of_a_fast_one() -> None:
    stats, pool = CameraStats(), SlotPool(64, 48, 8)
    from frames_made import info, noise

    way = LiveWay(stats)
    for number in range(8):
        about = info(number)
        way.put(noise(pool, dataclasses.replace(about, captured_ns=about.captured_ns * 4)))
    assert [raw.info.sequence for raw in way.drain()] == [6, 7]
    assert stats.snapshot().dropped == {str(DropReason.DETECTOR_SLOW): 6}


def test_what_a_network_camera_sends_at_first_waits_for_the_detector() -> None:
    stats, pool = CameraStats(), SlotPool(64, 48, 12)
    from frames_made import info, noise

    way = LiveWay(stats, patience_s=0.5)
    taken: list[int] = []

    def take() -> None:
        with suppress(ChannelClosedError):
            while True:
                if (raw := way.get(1.0)) is not None:
                    time.sleep(0.01)
                    taken.append(raw.info.sequence)
                    raw.release()

    reader = threading.Thread(target=take)
    reader.start()
    for number in range(12):
        way.put(noise(pool, info(number)))
    way.close()
    reader.join()
    assert taken == list(range(12))
    assert not stats.snapshot().dropped
    # Nobody takes any: once patience is over, the oldest goes, as ever.
    way = LiveWay(stats, patience_s=0.2)
    begun = time.monotonic()
    for number in range(8):
        way.put(noise(pool, info(number)))
    assert [raw.info.sequence for raw in way.drain()] == [2, 3, 4, 5, 6, 7]
    assert time.monotonic() - begun < 5


def test_a_slow_way_out_drops_frames_before_masking_and_counts_every_one() -> None:
    with Camera(_Emitter(pause_s=0.03)) as camera:
        camera.run_for(0.6)
        counts = camera.stats.snapshot()
        dropped = sum(counts.dropped.values())
        no_slot = counts.dropped.get(str(DropReason.NO_SLOT), 0)
        assert dropped > 10
        assert counts.frames_in + no_slot == len(camera.emitter.taken) + dropped
        assert camera.pool.free == camera.pool.count
        assert camera.emitter.finished


def test_a_file_loses_no_frame_however_slow_the_way_out_is() -> None:
    with Camera(_Emitter(pause_s=0.01), rate=1000.0) as camera:
        camera.source = _Counted(camera.source, camera.pool, 60)  # type: ignore[arg-type]
        camera.way = FileWay(5.0)
        camera.pipeline().run()
        assert camera.emitter.taken == list(range(60))
        assert sum(camera.stats.snapshot().dropped.values()) == 0


def test_stopping_lets_everything_inside_leave() -> None:
    for after in (0.0, 0.01, 0.1, 0.2):
        with Camera(_Emitter()) as camera:
            camera.run_for(after)
            assert camera.emitter.finished
            assert camera.pool.free == camera.pool.count


def test_stopping_does_not_wait_for_a_source_that_hangs() -> None:
    with Camera(_Emitter()) as camera:
        camera.switches.arm("hangs", value=8.0)
        camera.run_for(0.1)
        assert any(thread.name == "capture" and thread.is_alive() for thread in threading.enumerate())
        assert camera.emitter.finished


@pytest.mark.parametrize("where", ["source_raises", "source_breaks"])
def test_an_error_of_the_source_ends_all_stages(where: str) -> None:
    with Camera(_Emitter()) as camera:
        camera.switches.arm(where)
        with pytest.raises(Exception, match=r"gone|bug in capture"):
            camera.pipeline().run()
        assert camera.emitter.abandoned
        assert not camera.emitter.finished
        assert camera.pool.free == camera.pool.count


def test_an_error_on_the_way_out_ends_all_stages_and_no_slot_is_lost() -> None:
    for _ in range(20):
        with Camera(_Emitter(raises=LogError("no log, no video"))) as camera:
            with pytest.raises(LogError):
                camera.pipeline().run()
            deadline = time.monotonic() + 5
            while camera.pool.free != camera.pool.count and time.monotonic() < deadline:
                time.sleep(0.01)
            assert camera.pool.free == camera.pool.count


def test_a_log_that_fails_in_the_capture_thread_ends_all_stages() -> None:
    with Camera(_Emitter()) as camera:
        camera.log.is_broken = True
        with pytest.raises(LogError):
            camera.pipeline().run()


def test_a_way_out_that_hangs_is_left_behind_with_an_error() -> None:
    with Camera(_Emitter(pause_s=3.0), patience_s=0.3) as camera, pytest.raises(PipelineError):
        camera.pipeline().run()


class _OpensSlowly(_Emitter):
    """The first frame takes long, and one later on takes as long again."""

    def __init__(self, stats: CameraStats, *, hangs_at: int) -> None:
        super().__init__()
        self.stats, self.hangs_at = stats, hangs_at

    def accept(self, item: Analysed) -> None:
        if len(self.taken) in (0, self.hangs_at):
            time.sleep(1.2)
        super().accept(item)
        self.stats.emitted(0, masks=0, latency_ns=0)


def test_the_first_picture_may_take_longer_than_those_after_it() -> None:
    with Camera(_Emitter(), patience_s=0.4) as camera:
        camera.emitter = _OpensSlowly(camera.stats, hangs_at=-1)
        camera.opening_patience_s = 10.0
        camera.run_for(2.5)
        assert len(camera.emitter.taken) > 1
    with Camera(_Emitter(), patience_s=0.4) as camera:
        camera.opening_patience_s = 10.0
        camera.emitter = _OpensSlowly(camera.stats, hangs_at=3)
        with pytest.raises(PipelineError, match=r"has not moved|no room"):
            camera.pipeline().run()


def test_an_opening_that_hangs_ends_too() -> None:
    with Camera(_Emitter(pause_s=3.0), patience_s=0.1) as camera:
        camera.opening_patience_s = 0.4
        with pytest.raises(PipelineError, match=r"has not moved|no room"):
            camera.pipeline().run()


def test_an_analysis_that_hangs_is_left_behind_with_an_error() -> None:
    release = threading.Event()

    class _Hangs(_Tracker):
        def update(self, detections: Any, now_ns: int) -> tuple[()]:
            release.wait(20)
            return ()

    with Camera(_Emitter(), patience_s=0.2) as camera:
        camera.tracker = _Hangs()
        with pytest.raises(PipelineError, match="analysis"):
            camera.pipeline().run()
        release.set()


def test_a_source_that_hangs_in_native_code_ends_the_process() -> None:
    with Camera(_Emitter()) as camera:
        camera.source_patience_s = 0.3
        camera.switches.arm("hangs", value=5.0)
        with pytest.raises(PipelineError, match="source"):
            camera.pipeline().run()


def test_a_pool_grows_with_the_frame_rate_and_keeps_room_for_the_look_back() -> None:
    pools = Pools(0.5)
    slow = pools.pool(64, 48, 5.0)
    assert pools.room >= 17
    assert pools.pool(64, 48, 25.0) is slow
    fast = pools.pool(64, 48, 60.0)
    assert fast is not slow
    assert pools.room >= 32
    assert pools.pool(64, 48, 25.0) is fast
    assert pools.pool(66, 48, 25.0) is not fast
