"""The parts of a camera with faults inside: source, detector, tracker, masker, encoder, log, sinks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from types import TracebackType
from typing import Any

import numpy as np

from fault.switches import Switches
from media import Image
from oracle import PICTURES, OracleDetector, scene_of
from veil.audit.event import Event
from veil.audit.log import EventSink
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.domain.clock import Clock
from veil.domain.cover import Cover, Region, Regions, Solid
from veil.domain.detection import Detection, DetectionReport, ObjectClass
from veil.domain.geometry import Box, EvenRect
from veil.domain.thresholds import ClassThresholds
from veil.domain.track import Track
from veil.emit import Covers, EncoderSpec, Encodes, LooksBack, Makers
from veil.encode.packet import MaskedPacket
from veil.errors import CaptureError, EncoderError, LogError, PainterError, SinkError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import FrameInfo, Planes
from veil.frames.pool import even
from veil.frames.raw import RawFrame
from veil.mask.masker import Masker
from veil.mask.targets import Target

SIZES = ((160, 120), (192, 144), (161, 121))
_BASE = Fraction(1, 90_000)


@lru_cache(maxsize=8)
def scene_pictures(width: int, height: int) -> tuple[Image, ...]:
    """Luma of the scene, padded to even as capture does."""
    scene = scene_of(width, height)
    pad = ((0, even(height) - height), (0, even(width) - width))
    return tuple(np.pad(scene.luma(number), pad, mode="edge") for number in range(PICTURES))


class MadeSource:
    """A live camera from memory: real slots, real leases, the scene at a steady rate, and every trouble that
    a camera makes."""

    def __init__(
        self,
        switches: Switches,
        pools: PoolProvider,
        observer: CaptureObserver,
        clock: Clock,
        *,
        rate: float,
        size: tuple[int, int],
        counter: Iterator[int],
    ) -> None:
        self._switches, self._pools, self._observer, self._clock = switches, pools, observer, clock
        self._rate, self.size = rate, size
        # As a real camera it goes on where it is when the process comes back.
        self._numbers = counter
        self._closed = threading.Event()
        self._sequence = 0
        self._epoch = -1
        self._pts = 0

    @property
    def is_live(self) -> bool:
        return True

    def close(self) -> None:
        self._closed.set()

    def frames(self) -> Iterator[RawFrame]:
        self._connect()
        due = time.monotonic()
        while not self._closed.is_set():
            due += 1 / self._rate
            if self._closed.wait(max(0.0, due - time.monotonic())):
                return
            due = max(due, time.monotonic() - 0.2)
            self._trouble()
            count = 40 if self._switches.take("burst") else 1
            for _ in range(count):
                raw = self._picture(next(self._numbers))
                if raw is not None:
                    yield raw

    def _connect(self) -> None:
        self._epoch += 1
        self._pts = 0
        self._observer.connected(*self.size, self._rate)

    def _trouble(self) -> None:
        take = self._switches.take
        if (armed := take("silent")) is not None:
            self._closed.wait(armed.value)
        if (armed := take("hangs")) is not None:
            time.sleep(armed.value)
        if take("source_raises"):
            raise CaptureError("The camera is gone.")
        if take("source_breaks"):
            raise RuntimeError("a bug in capture")
        if (armed := take("cut")) is not None:
            self._observer.disconnected(CaptureError("cut"), armed.value)
            self._closed.wait(armed.value)
            self._connect()
        if (armed := take("resize")) is not None:
            self.size = armed.value
            self._connect()
        if (armed := take("jump")) is not None:
            self._pts += int(armed.value * 90_000)
        if take("backwards"):
            self._connect()

    def _picture(self, number: int) -> RawFrame | None:
        width, height = self.size
        pool = self._pools.pool(width, height, self._rate)
        self._pts += int(90_000 / self._rate)
        slot = pool.acquire(0)
        if slot is None:
            self._observer.dropped(DropReason.NO_SLOT)
            return None
        if self._switches.take("black"):
            slot.planes.y[...] = 16
        else:
            if self._switches.take("frozen"):
                number = 3
            slot.planes.y[...] = scene_pictures(width, height)[number % PICTURES]
        slot.planes.u[...] = 120
        slot.planes.v[...] = 134
        info = FrameInfo(
            self._sequence, self._pts, _BASE, self._epoch, self._clock.monotonic_ns(), width, height
        )
        self._sequence += 1
        return RawFrame(info, slot, pool)


class FaultyDetector:
    """The oracle, and everything that a detector can do wrong.

    Attributes:
        release: ends a detector that hangs.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._oracle = OracleDetector()
        self._before: DetectionReport | None = None
        self.release = threading.Event()

    @property
    def identity(self) -> str:
        return self._oracle.identity

    @property
    def thresholds(self) -> Mapping[ObjectClass, ClassThresholds]:
        return self._oracle.thresholds

    def detect(self, raw: RawFrame) -> DetectionReport:
        take = self._switches.take
        if (armed := take("detector_raises")) is not None:
            raise armed.value
        if (armed := take("detector_late")) is not None:
            report = self._oracle.detect(raw)
            time.sleep(armed.value)
            return report
        if (armed := take("detector_stuck")) is not None:
            self._hang(raw.planes, armed.value)
        report = self._oracle.detect(raw)
        before, self._before = self._before, report
        if before is not None and take("detector_answers_again"):
            return before
        if (armed := take("detector_lies")) is not None:
            return _LIES[armed.value](report)
        return report

    def _hang(self, planes: Planes, for_s: float) -> None:
        """As native code does: it goes on reading the slot whoever has it by now."""
        until = time.monotonic() + for_s
        while time.monotonic() < until and not self.release.is_set():
            int(planes.y[::4, ::4].sum())
            time.sleep(0.005)


def _with(report: DetectionReport, *detections: Any) -> DetectionReport:
    return replace(report, detections=(*report.detections, *detections))


_LIES: Mapping[str, Callable[[DetectionReport], Any]] = {
    "nan_box": lambda report: _with(report, Detection(ObjectClass.FACE, Box(1, math.nan, 9, 9), 0.9)),
    "infinite_box": lambda report: _with(report, Detection(ObjectClass.FACE, Box(1, 1, math.inf, 9), 0.9)),
    "nan_score": lambda report: _with(report, Detection(ObjectClass.FACE, Box(1, 1, 9, 9), math.nan)),
    "infinite_score": lambda report: _with(report, Detection(ObjectClass.FACE, Box(1, 1, 9, 9), math.inf)),
    "score_over_one": lambda report: _with(report, Detection(ObjectClass.FACE, Box(1, 1, 9, 9), 7.0)),
    "unknown_class": lambda report: _with(report, Detection("cat", Box(1, 1, 9, 9), 0.9)),  # type: ignore[arg-type]
    "no_box": lambda report: _with(report, Detection(ObjectClass.FACE, None, 0.9)),  # type: ignore[arg-type]
    "other_number": lambda report: replace(report, sequence=report.sequence + 1, detections=()),
    "nobody_looked": lambda report: replace(report, detectors=(), detections=()),
    "nothing": lambda report: None,
    "text": lambda report: "no faces",
}
LIES = tuple(_LIES)


class FaultyTracker:
    """A tracker that raises."""

    def __init__(self, switches: Switches, tracker: Any) -> None:
        self._switches, self._tracker = switches, tracker

    def update(self, detections: Sequence[Detection], now_ns: int) -> tuple[Track, ...]:
        if self._switches.take("tracker_raises"):
            raise ValueError("a bug in the tracker")
        found: tuple[Track, ...] = self._tracker.update(detections, now_ns)
        return found

    def reset(self) -> None:
        self._tracker.reset()


class FaultyMasker(Masker):
    """A painter that fails halfway: some regions are painted, then it raises."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def mask(self, raw: RawFrame, cover: Cover) -> MaskedFrame:
        if self._switches.take("painter_raises"):
            outside = Region(EvenRect(0, 0, 2 * raw.planes.y.shape[1], 2), Solid())
            regions = cover.regions if isinstance(cover, Regions) else ()
            return super().mask(raw, Regions(raw.info.sequence, ("x",), (*regions[:1], outside)))
        if self._switches.take("masker_raises"):
            raise PainterError("a bug in the masker")
        if self._switches.take("cover_of_other_frame"):
            return super().mask(raw, Regions(raw.info.sequence + 1, ("x",), ()))
        return super().mask(raw, cover)


class _FaultyEncoder:
    def __init__(
        self, switches: Switches, inner: AbstractContextManager[Encodes], hung: threading.Event
    ) -> None:
        self._switches, self._scope, self._hung = switches, inner, hung

    def __enter__(self) -> _FaultyEncoder:
        if self._switches.take("encoder_missing"):
            raise EncoderError("no encoder")
        self._inner = self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, trace)

    def request_keyframe(self) -> None:
        self._inner.request_keyframe()

    def encode(self, frame: MaskedFrame) -> Sequence[MaskedPacket]:
        if self._switches.take("encoder_raises"):
            raise EncoderError("a picture could not be encoded")
        if (armed := self._switches.take("encoder_slow")) is not None:
            time.sleep(armed.value)
        if (armed := self._switches.take("encoder_stuck")) is not None:
            self._hung.wait(armed.value)
        return self._inner.encode(frame)

    def flush(self) -> Sequence[MaskedPacket]:
        if self._switches.take("flush_raises"):
            raise EncoderError("the encoder could not be emptied")
        return self._inner.flush()


class _FaultyLookBack:
    def __init__(self, switches: Switches, inner: LooksBack) -> None:
        self._switches, self._inner = switches, inner

    def push(
        self, sequence: int, time_ns: int, tracks: Sequence[Track], *, without_detector: bool = False
    ) -> None:
        if self._switches.take("lookback_push_raises"):
            raise ValueError("a bug in the look-back")
        self._inner.push(sequence, time_ns, tracks, without_detector=without_detector)

    def take(self, sequence: int) -> tuple[Target, ...]:
        if self._switches.take("lookback_take_raises"):
            raise ValueError("a bug in the look-back")
        return self._inner.take(sequence)


class _FaultyPolicy:
    def __init__(self, switches: Switches, inner: Covers) -> None:
        self._switches, self._inner = switches, inner

    def cover(self, sequence: int, detectors: tuple[str, ...], targets: Sequence[Target]) -> Regions:
        if self._switches.take("policy_raises"):
            raise ValueError("a bug in the policy")
        return self._inner.cover(sequence, detectors, targets)


def faulty_makers(switches: Switches, inner: Makers, hung: threading.Event) -> Makers:
    """Encoder, look-back and policy with faults."""

    def encoder(spec: EncoderSpec) -> AbstractContextManager[Encodes]:
        return _FaultyEncoder(switches, inner.encoder(spec), hung)

    return Makers(
        encoder=encoder,
        lookback=lambda: _FaultyLookBack(switches, inner.lookback()),
        policy=lambda width, height: _FaultyPolicy(switches, inner.policy(width, height)),
    )


class FaultyLog:
    """A log that cannot be appended to, in whichever thread asks next."""

    def __init__(self, switches: Switches, inner: EventSink) -> None:
        self._switches, self._inner = switches, inner

    def append(self, event: Event) -> int:
        if self._switches.take("log_raises"):
            raise LogError("the log is gone")
        return self._inner.append(event)


class FaultySink:
    """A packet or frame sink that raises."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def publish(self, packet: MaskedPacket) -> None:
        del packet
        if self._switches.take("sink_raises"):
            raise SinkError("a sink is broken")

    def offer(self, frame: MaskedFrame) -> None:
        del frame
        if self._switches.take("frame_sink_raises"):
            raise SinkError("a frame sink is broken")
