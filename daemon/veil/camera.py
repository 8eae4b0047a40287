"""The process of one camera (`veil camera NAME`, veil-camera@NAME.service)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import FrameType

import cv2

from veil.analyse import Analyser
from veil.assemble import SlatesAhead, emitter_makers, lookback_ns, slate_lines, slates
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventLog, EventSink, note_fault
from veil.audit.tally import Tally
from veil.capture.open import open_source
from veil.capture.paced import PacedSource
from veil.capture.rtsp import RtspSource
from veil.config import CameraConfig, Config
from veil.config_secrets import with_password
from veil.detect.detector import Detector, load_detector
from veil.detect.guard import DetectorGuard
from veil.domain.clock import Clock, SystemClock
from veil.emit import Emitter, PacketSink, SlatePlan
from veil.frames.picture import ColorInfo
from veil.host.memory import give_freed_memory_back, let_go_of_code, set_aside_what_is_loaded
from veil.host.sdnotify import Supervisor
from veil.host.secrecy import forbid_memory_dumps
from veil.last_stream import recall, remembering
from veil.origin import not_hidden, origin_of
from veil.pipeline import LiveWay, Observer, Parts, Pipeline, Pools
from veil.places import CameraPlaces
from veil.restart import RestartRequest
from veil.sinks.housekeeping import Retention, repair_recordings
from veil.sinks.recorder import Recorder
from veil.sinks.recording import OnSegment, OnSetAside, Recording
from veil.sinks.rtsp import RtspSink
from veil.sinks.snapshot import SnapshotSink
from veil.state_file import write_state
from veil.stats import CameraStats
from veil.timeline import LiveTimeline
from veil.track.tracker import Tracker

_PATIENCE_S = 5.0
_OPENING_PATIENCE_S = 30.0
_CATCH_UP_S = 5.0
_STATE_INTERVAL_S = 1.0
_SLATE_SIZE = (1280, 720)


def run_camera(config: Config, camera: CameraConfig, *, detector: Detector | None = None) -> None:
    """Until SIGTERM, SIGINT or SIGHUP. Raises VeilError; the supervisor then starts the process again.

    Args:
        detector: in place of the configured bundle (tests).
    """
    # Each camera has its share of the cores; OpenCV's own threads would take the others'.
    cv2.setNumThreads(1)
    give_freed_memory_back()
    forbid_memory_dumps()
    clock, stats, supervisor = SystemClock(), CameraStats(), Supervisor()
    places = CameraPlaces.of(config, camera.name)
    places.state.parent.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):
        # The agent, another user of the group, leaves its requests there.
        places.state.parent.chmod(0o770)
    with ExitStack() as scope:
        log = scope.enter_context(EventLog(places.log, camera.name, clock))
        detector = detector or scope.enter_context(load_detector(camera.detector))
        request = RestartRequest(places.restart)
        log.append(Event(Kind.CAMERA_STARTED, _identity(config, camera, detector)))
        if (warning := not_hidden(camera, detector)) is not None:
            _tell(camera.name, *warning)
        ending = scope.enter_context(_Ending(request, log))
        pipeline = _live_pipeline(config, camera, detector, log, stats, clock, scope)
        _stop_on_signals(partial(ending.asked, pipeline.stop))
        look = partial(ending.look, pipeline.stop)
        scope.enter_context(_Reporter(places.state, stats, supervisor, pipeline.is_moving, look))
        set_aside_what_is_loaded()
        let_go_of_code()
        supervisor.ready()
        try:
            pipeline.run()
        finally:
            supervisor.stopping()


def _live_pipeline(
    config: Config,
    camera: CameraConfig,
    detector: Detector,
    log: EventSink,
    stats: CameraStats,
    clock: Clock,
    scope: ExitStack,
) -> Pipeline:
    places = CameraPlaces.of(config, camera.name)
    # Without recordings nobody asks for their frames' counts.
    tally = Tally() if camera.recorder.enabled else Tally(most_frames=0)
    observer = Observer(stats, log, partial(_tell, camera.name))
    slate_size, slate_color = _SLATE_SIZE, ColorInfo()
    if (last := recall(places.stream)) is not None:
        slate_size, slate_color = (last.width, last.height), last.color
        observer.frame_rate = last.frame_rate
    pools = Pools(camera.mask.lookback_s)
    packet_sinks: list[PacketSink] = []
    emitters: list[Emitter] = []
    if camera.recorder.enabled:
        repair_recordings(places.recordings, log)
        recorder = partial(
            Recorder, camera.recorder, camera=camera.name, directory=places.recordings, clock=clock
        )

        def make(closed: OnSegment, aside: OnSetAside) -> Recorder:
            return recorder(on_segment=closed, on_set_aside=aside)

        packet_sinks.append(
            scope.enter_context(Recording(make, log, tally, stats, origin_of(camera, detector)))
        )
        scope.enter_context(Retention(camera.recorder, places.recordings, log, clock))
    makers = emitter_makers(camera, lambda: observer.frame_rate, clock)
    if config.rtsp.enabled:
        slates_ahead = SlatesAhead(slates(camera, lambda: observer.frame_rate, clock))
        makers = slates_ahead.before(makers)

        def request_keyframe() -> None:
            for emitter in emitters:
                emitter.request_keyframe()

        sink = RtspSink(
            places.rtsp_socket,
            camera.name,
            slates=slates_ahead,
            on_keyframe_request=request_keyframe,
        )
        packet_sinks.append(scope.enter_context(sink))
    snapshot = scope.enter_context(SnapshotSink(camera.preview, places.snapshot, clock))
    emitter = Emitter(
        remembering(makers, places.stream, lambda: observer.frame_rate),
        lookback_ns=lookback_ns(camera),
        capacity=lambda: pools.room,
        timeline=LiveTimeline(clock.monotonic_ns()),
        slates=SlatePlan(config.rtsp.slate_after_s, slate_lines(camera.name), slate_size, slate_color),
        packet_sinks=packet_sinks,
        frame_sinks=[snapshot],
        log=log,
        tally=tally,
        stats=stats,
        clock=clock,
    )
    emitters.append(emitter)
    guard = scope.enter_context(
        DetectorGuard(
            detector,
            deadline_s=camera.detector.deadline_ms / 1000,
            stuck_after_s=camera.detector.stuck_after_s,
            clock=clock,
            failed=lambda text: note_fault(log, text),
        )
    )
    source = open_source(with_password(camera, os.environ), pools, observer, clock)
    return Pipeline(
        Parts(
            source=source if source.is_live else PacedSource(source, clock),
            analyser=Analyser(guard, Tracker(camera.tracker, detector.thresholds), stats),
            emitter=emitter,
            way=LiveWay(stats, _CATCH_UP_S if isinstance(source, RtspSource) else 0.0),
            stats=stats,
            log=log,
            clock=clock,
            patience_s=_PATIENCE_S,
            opening_patience_s=_OPENING_PATIENCE_S,
        )
    )


def _identity(config: Config, camera: CameraConfig, detector: Detector) -> dict[str, Value]:
    return {
        **origin_of(camera, detector),
        "bundle": detector.identity,
        "box": config.box.name,
        "site": config.box.site,
    }


class _Ending:
    """Ends the pipeline where the agent or a signal asks for it, and says in the log's last line why.

    Reasons: `restart`, `asked`, the name of an error, and `ended` of a file in place of a camera.

    To be left last, so that the line stands behind those of the last segment."""

    def __init__(self, request: RestartRequest, log: EventSink) -> None:
        self._request = request
        self._log = log
        self._reason = "ended"

    def asked(self, stop: Callable[[], None]) -> None:
        """Calls `stop`, as a signal asks for."""
        self._reason = "asked"
        stop()

    def look(self, stop: Callable[[], None]) -> None:
        """Calls `stop` where a restart is asked for."""
        if self._request.is_there():
            self._reason = "restart"
            stop()

    def __enter__(self) -> _Ending:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        reason = self._reason if kind is None else kind.__name__
        self._log.append(Event(Kind.CAMERA_STOPPED, {"reason": reason}))


class _Reporter:
    """Once a second: the state file for health, a sign of life to the supervisor while frames move, and a
    look at whether a restart is asked for. The last state is of the end: all frames are in it."""

    def __init__(
        self,
        path: Path,
        stats: CameraStats,
        supervisor: Supervisor,
        is_moving: Callable[[], bool],
        look: Callable[[], None],
    ) -> None:
        self._path = path
        self._stats = stats
        self._supervisor = supervisor
        self._is_moving = is_moving
        self._look = look
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)

    def __enter__(self) -> _Reporter:
        self._thread.start()
        return self

    def write(self) -> None:
        """Replaces the state file; a failure to do so is not the video's business."""
        write_state(self._path, self._stats, moving=self._is_moving())

    def _work(self) -> None:
        while not self._done.wait(_STATE_INTERVAL_S):
            self.write()
            self._look()
            if self._is_moving():
                self._supervisor.watchdog()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.write()


def _tell(name: str, message: str, hint: str) -> None:
    """To standard error, the journal on a box. That nobody reads it is not the video's business."""
    said = f"veil: camera {name}: {message}\n" + (f"      {hint}\n" if hint else "")
    with suppress(OSError, ValueError):
        sys.stderr.write(said)
        sys.stderr.flush()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop()

    # SIGHUP: the terminal it was started from has gone.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handle)
