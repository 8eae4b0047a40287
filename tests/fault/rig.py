"""One camera in this process, wired as `veil.camera` wires it, and what a supervisor does for it: start it
again after every error. Around it an auditor decodes and searches all that comes out."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from fault.disk import FaultyOs
from fault.parts import (
    SIZES,
    FaultyDetector,
    FaultyLog,
    FaultyMasker,
    FaultySink,
    FaultyTracker,
    MadeSource,
    faulty_makers,
)
from fault.switches import Switches
from fault.viewer import ViewerServer
from media import Image
from oracle import PacketDecoder, pictures_in, read_once, readable, scene_of, truth_number
from veil.analyse import Analyser
from veil.assemble import emitter_makers, slates
from veil.audit.event import Event, Kind
from veil.audit.log import EventLog, note_fault
from veil.audit.tally import Tally
from veil.config import CameraConfig, EncoderConfig, MaskConfig, RecorderConfig, TrackerConfig
from veil.detect.guard import DetectorGuard
from veil.domain.clock import SystemClock
from veil.emit import Emitter, SlatePlan
from veil.encode.packet import MaskedPacket
from veil.errors import SinkError
from veil.frames.pool import SlotPool
from veil.pipeline import LiveWay, Observer, Parts, Pipeline, Pools
from veil.sinks.housekeeping import repair_recordings
from veil.sinks.recorder import Recorder
from veil.sinks.recording import OnSegment, OnSetAside, Recording
from veil.sinks.rtsp import RtspSink
from veil.stats import CameraStats
from veil.timeline import LiveTimeline
from veil.track.tracker import Tracker

SLATE_AFTER_S = 0.2
LOOKBACK_S = 0.1
DEADLINE_S = 0.15
STUCK_AFTER_S = 0.5
PATIENCE_S = 1.0
RATE = 25.0
_RESTART_S = 0.02
_MOST_EXPOSED = 0.02


@dataclass
class Audit:
    """What was found in the pictures that left.

    Attributes:
        found: what should not be there, one line each.
        hidden: pictures in which a marker was there and covered.
    """

    pictures: int = 0
    searched: int = 0
    hidden: int = 0
    found: list[str] = field(default_factory=list)

    def look(self, where: str, luma: Image, *, thoroughly: bool) -> None:
        self.pictures += 1
        ids = readable(luma) if thoroughly else read_once(luma)
        self.searched += thoroughly
        if ids:
            self.found.append(f"{where}: markers {ids} can be read")
        for width, height in SIZES:
            if luma.shape == (height + height % 2, width + width % 2):
                shown = luma[:height, :width]
                exposed = scene_of(width, height).exposed(shown)
                self.hidden += truth_number(shown) is not None
                if exposed > _MOST_EXPOSED:
                    self.found.append(f"{where}: {exposed:.0%} of a marker is exposed")


class Auditor:
    """Decodes and searches packets on a thread of its own. Feeding waits when it falls behind."""

    def __init__(self) -> None:
        self.audit = Audit()
        self._queue: queue.Queue[tuple[str, MaskedPacket] | None] = queue.Queue(600)
        self._thread = threading.Thread(target=self._run, name="auditor", daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Auditor:
        self._thread.start()
        return self

    def feed(self, where: str, packet: MaskedPacket) -> None:
        self._queue.put((where, packet))

    def wait(self) -> None:
        """Until everything that was fed is searched."""
        while not self._queue.empty() and self._thread.is_alive():
            time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        decoders: dict[str, PacketDecoder] = {}
        seen: dict[str, bytes] = {}
        try:
            while (item := self._queue.get()) is not None:
                where, packet = item
                for luma in decoders.setdefault(where, PacketDecoder()).pictures(packet):
                    if luma.tobytes() != seen.get(where):
                        seen[where] = luma.tobytes()
                        label = f"{where} frame {packet.sequence}"
                        self.audit.look(label, luma, thoroughly=self.audit.pictures % 50 == 0)
        except BaseException as error:  # noqa: BLE001  __exit__ raises it
            self._error = error
            while self._queue.get() is not None:
                pass


class Tap:
    """Sees each packet that leaves: notes which are masked pictures with something in them."""

    def __init__(self, name: str, auditor: Auditor) -> None:
        self._name, self._auditor = name, auditor
        self.masked_times: deque[float] = deque(maxlen=4096)

    def publish(self, packet: MaskedPacket) -> None:
        self._auditor.feed(self._name, packet)
        if not packet.is_slate and not packet.is_whole:
            self.masked_times.append(time.monotonic())


class _KeptPools(Pools):
    """Remembers its pools, to count slots at the end."""

    def __init__(self, lookback_s: float, kept: list[SlotPool]) -> None:
        super().__init__(lookback_s)
        self._kept = kept

    def pool(self, width: int, height: int, frame_rate: float) -> SlotPool:
        pool = super().pool(width, height, frame_rate)
        if not any(pool is known for known in self._kept):
            self._kept.append(pool)
        return pool


class Rig:
    """A camera that is kept running. A context manager.

    Attributes:
        endings: how often the pipeline ended, by error.
    """

    def __init__(self, name: str, folder: Path, auditor: Auditor, disk: FaultyOs) -> None:
        self.name, self.folder = name, folder
        self.switches = Switches()
        self.detector = FaultyDetector(self.switches)
        self.hung = threading.Event()
        self.tap = Tap(name, auditor)
        self.server = ViewerServer(folder / "rtsp.sock", SLATE_AFTER_S)
        self.pools: list[SlotPool] = []
        self.endings: Counter[str] = Counter()
        self.runs = 0
        self.pipeline: Pipeline | None = None
        self._numbers: Iterator[int] = itertools.count()
        self._clock = SystemClock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name=f"supervisor-{name}", daemon=True)
        disk.register(folder, self.switches)
        self._config = CameraConfig(
            name=name,
            source="rtsp://camera/",
            # Short, so that a wrong answer is not made good by what was known before.
            tracker=TrackerConfig(hold_s=0.2),
            mask=MaskConfig(lookback_s=LOOKBACK_S),
            encoder=EncoderConfig(preset="ultrafast", bit_rate=3_000_000, keyframe_interval_s=0.4),
            recorder=RecorderConfig(segment_s=1.0, fragment_s=0.2, min_free_mib=0.0),
        )

    def __enter__(self) -> Rig:
        self.server.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.switches.clear()
        self._ended.set()
        self.hung.set()
        self.detector.release.set()
        self._thread.join(20)
        self.server.__exit__(None, None, None)

    def stop_pipeline(self) -> None:
        if self.pipeline is not None:
            self.pipeline.stop()

    def _supervise(self) -> None:
        while not self._ended.is_set():
            self.runs += 1
            try:
                self._run()
                self.endings["ended"] += 1
            except Exception as error:  # noqa: BLE001  as a supervisor does
                self.endings[type(error).__name__] += 1
            except SystemExit:
                self.endings["SystemExit"] += 1
            self._ended.wait(_RESTART_S)

    def _run(self) -> None:
        config, clock, stats = self._config, self._clock, CameraStats()
        switches = self.switches
        recordings = self.folder / "recordings"
        with ExitStack() as scope:
            real_log = scope.enter_context(
                EventLog(self.folder / "log" / "events.jsonl", self.name, clock, reserve_bytes=4096)
            )
            log = FaultyLog(switches, real_log)
            log.append(Event(Kind.CAMERA_STARTED, {}))
            observer, tally = Observer(stats, log), Tally()
            # Of runs that are over, only those that miss a slot are of interest.
            self.pools[:] = [pool for pool in self.pools if pool.free != pool.count]
            pools = _KeptPools(LOOKBACK_S, self.pools)
            with contextlib.suppress(SinkError):
                repair_recordings(recordings, log)

            def recorder(closed: OnSegment, aside: OnSetAside) -> Recorder:
                return Recorder(
                    config.recorder,
                    camera=self.name,
                    directory=recordings,
                    clock=clock,
                    on_segment=closed,
                    on_set_aside=aside,
                )

            recording = scope.enter_context(Recording(recorder, log, tally, stats, {}))
            faulty = FaultySink(switches)
            emitters: list[Emitter] = []
            sink = scope.enter_context(
                RtspSink(
                    self.folder / "rtsp.sock",
                    self.name,
                    slates=slates(config, lambda: observer.frame_rate, clock),
                    on_keyframe_request=lambda: [one.request_keyframe() for one in emitters] and None,
                )
            )
            emitter = Emitter(
                faulty_makers(
                    switches, emitter_makers(config, lambda: observer.frame_rate, clock), self.hung
                ),
                lookback_ns=int(LOOKBACK_S * 1e9),
                capacity=lambda: pools.room,
                timeline=LiveTimeline(clock.monotonic_ns()),
                slates=SlatePlan(SLATE_AFTER_S, (self.name,), SIZES[0]),
                packet_sinks=[recording, faulty, sink, self.tap],
                frame_sinks=[faulty],
                log=log,
                tally=tally,
                stats=stats,
                clock=clock,
            )
            emitter._masker = FaultyMasker(switches)
            emitters.append(emitter)
            guard = scope.enter_context(
                DetectorGuard(
                    self.detector,
                    deadline_s=DEADLINE_S,
                    stuck_after_s=STUCK_AFTER_S,
                    clock=clock,
                    failed=lambda text: note_fault(log, text),
                )
            )
            tracker = FaultyTracker(switches, Tracker(config.tracker, self.detector.thresholds))
            source = MadeSource(
                switches, pools, observer, clock, rate=RATE, size=SIZES[0], counter=self._numbers
            )
            self.pipeline = Pipeline(
                Parts(
                    source=source,
                    analyser=Analyser(guard, tracker, stats),
                    emitter=emitter,
                    way=LiveWay(stats),
                    stats=stats,
                    log=log,
                    clock=clock,
                    patience_s=PATIENCE_S,
                )
            )
            if self._ended.is_set():
                return
            stopper = threading.Thread(target=self._stop_at_end, args=(self.pipeline,), daemon=True)
            stopper.start()
            self.pipeline.run()

    def _stop_at_end(self, pipeline: Pipeline) -> None:
        while not self._ended.wait(0.05):
            if self.pipeline is not pipeline:
                return
        pipeline.stop()

    def search_recordings(self, audit: Audit) -> int:
        """Looks at all pictures of all recordings, open ones and those set aside too; how many there are."""
        files = 0
        for path in sorted(self.folder.rglob("*.mp4*")):
            if path.stat().st_size < 1000:
                continue
            files += 1
            before = b""
            for index, luma in enumerate(pictures_in(path)):
                if luma.tobytes() != before and index % 5 == 0:
                    audit.look(path.name, luma, thoroughly=False)
                before = luma.tobytes()
        return files
