"""The way out of one camera: look-back, cover, mask, encode, sinks; slates while there is nothing safe."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from veil.analyse import Analysed
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventSink
from veil.audit.tally import FrameTally, packed
from veil.domain.clock import NANOSECONDS, Clock
from veil.domain.cover import Cover, Reason, Regions, WholeFrame, operators_of
from veil.domain.detection import DetectionReport, DetectionTable
from veil.domain.track import Track, TrackTable
from veil.encode.packet import MaskedPacket
from veil.errors import PainterError, PipelineError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import ColorInfo, FrameInfo
from veil.frames.pool import even
from veil.mask.masker import Masker, SlateMaker
from veil.mask.targets import Target
from veil.stats import CameraStats
from veil.timeline import LIVE_TIME_BASE, Timeline

_WHOLE_EPISODE_NS = 2 * NANOSECONDS
_SLATE_INTERVAL_NS = NANOSECONDS // 2


class Encodes(Protocol):
    """The encoder's verbs; see `veil.encode.encoder`."""

    def request_keyframe(self) -> None: ...

    def encode(self, frame: MaskedFrame) -> Sequence[MaskedPacket]: ...

    def flush(self) -> Sequence[MaskedPacket]: ...


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What an encoder is opened for; `width`, `height` are coded (even), `epoch` counts encoders."""

    width: int
    height: int
    time_base: Fraction
    color: ColorInfo
    epoch: int


class PacketSink(Protocol):
    """Recorder, RTSP, file."""

    def publish(self, packet: MaskedPacket) -> None: ...


class FrameSink(Protocol):
    """Snapshots."""

    def offer(self, frame: MaskedFrame) -> None: ...


class Tallies(Protocol):
    """Takes the counts of each frame that leaves; see `veil.audit.tally`."""

    def add(self, frame: FrameTally) -> None: ...


class LooksBack(Protocol):
    """See `veil.mask.lookback`."""

    def push(
        self, sequence: int, time_ns: int, tracks: Sequence[Track], *, without_detector: bool = False
    ) -> None: ...

    def take(self, sequence: int) -> Sequence[Target]: ...


class Covers(Protocol):
    """See `veil.mask.policy`."""

    def cover(self, sequence: int, detectors: tuple[str, ...], targets: Sequence[Target]) -> Regions: ...


@dataclass(frozen=True)
class Makers:
    """How the emitter gets its parts; tests put faults here."""

    encoder: Callable[[EncoderSpec], AbstractContextManager[Encodes]]
    lookback: Callable[[], LooksBack]
    policy: Callable[[int, int], Covers]


@dataclass(frozen=True, slots=True)
class SlatePlan:
    """When and what a live camera shows instead of a picture. `size`, `color`: before the first frame."""

    after_s: float
    lines: tuple[str, ...]
    size: tuple[int, int]
    color: ColorInfo = field(default_factory=ColorInfo)


class Emitter:
    """Runs on the output thread of a camera. It alone masks, encodes and hands on.

    Args:
        lookback_ns: how long a frame waits for later frames, in media time.
        capacity: frames that may wait. Of a live camera that sends more than it said, frames are dropped
            (their tracks count); of a file, where each frame has to come out, the oldest leaves early.
        slates: None for files.
    """

    def __init__(
        self,
        makers: Makers,
        *,
        lookback_ns: int,
        capacity: Callable[[], int],
        timeline: Timeline,
        slates: SlatePlan | None,
        packet_sinks: Sequence[PacketSink],
        frame_sinks: Sequence[FrameSink],
        log: EventSink,
        tally: Tallies,
        stats: CameraStats,
        clock: Clock,
    ) -> None:
        self._makers = makers
        self._lookback_ns = lookback_ns
        self._capacity = capacity
        self._timeline = timeline
        self._slates = slates
        self._packet_sinks = packet_sinks
        self._frame_sinks = frame_sinks
        self._log = log
        self._tally = tally
        self._stats = stats
        self._clock = clock
        self._masker = Masker()
        self._waiting: deque[Analysed] = deque()
        self._lookback = makers.lookback()
        self._epoch = -1
        self._policy: Covers | None = None
        self._policy_size = (0, 0)
        self._encoder: Encodes | None = None
        self._encoder_scope = ExitStack()
        self._spec: EncoderSpec | None = None
        self._encoders = 0
        self._slate_maker: SlateMaker | None = None
        self._slating = False
        self._last_out_ns = clock.monotonic_ns()
        self._last_info: FrameInfo | None = None
        self._whole: _WholeEpisode | None = None

    def accept(self, item: Analysed) -> None:
        """Takes over the raw lease; lets go of every frame whose look-back is over."""
        try:
            self._take_in(item)
        except BaseException:
            item.raw.release()
            raise
        while self._waiting and item.time_ns - self._waiting[0].time_ns >= self._lookback_ns:
            self._emit(self._waiting.popleft())
        if len(self._waiting) <= self._capacity():
            return
        if self._slates is None:
            self._emit(self._waiting.popleft())
        else:
            self._waiting.pop().raw.release()
            self._stats.dropped("lookback_full")

    def _take_in(self, item: Analysed) -> None:
        info = item.raw.info
        if info.epoch != self._epoch:
            self._emit_all()
            self._lookback = self._makers.lookback()
            self._epoch = info.epoch
        blind = not isinstance(item.report, DetectionReport)
        self._lookback.push(info.sequence, item.time_ns, item.tracks, without_detector=blind)
        self._waiting.append(item)

    def expect_nothing(self) -> None:
        """For live cameras, while no frame is on its way here: those whose look-back is over leave.

        Not called while a frame is looked at, however long that takes: it may be the one that covers them.
        """
        if self._slates is None:
            return
        now_ns = self._clock.monotonic_ns()
        patience_ns = self._lookback_ns + int(self._slates.after_s * NANOSECONDS / 2)
        while self._waiting and now_ns - self._waiting[0].raw.info.captured_ns > patience_ns:
            self._emit(self._waiting.popleft())

    def tick(self) -> None:
        """For live cameras, several times a second: slates are sent, episodes end."""
        if self._slates is None:
            return
        now_ns = self._clock.monotonic_ns()
        interval_ns = _SLATE_INTERVAL_NS if self._slating else int(self._slates.after_s * NANOSECONDS)
        if now_ns - self._last_out_ns >= interval_ns:
            self._emit_slate(self._slates, now_ns)
        if self._whole is not None and now_ns - self._whole.last_ns > _WHOLE_EPISODE_NS:
            self._end_whole()

    def finish(self) -> None:
        """The source ended: everything that waits leaves, masked, and the encoder is emptied."""
        self._emit_all()
        self._end_whole()
        self._close_encoder()

    def abandon(self) -> None:
        """Something failed: nothing that waits leaves."""
        while self._waiting:
            self._waiting.popleft().raw.release()
        self._encoder = None
        self._encoder_scope.close()

    def request_keyframe(self) -> None:
        """From any thread: the next packet starts a group of pictures."""
        if self._encoder is not None:
            self._encoder.request_keyframe()

    def _emit_all(self) -> None:
        while self._waiting:
            self._emit(self._waiting.popleft())

    def _emit(self, item: Analysed) -> None:
        raw = item.raw
        with raw:
            cover = self._cover(item)
            raw.info = self._on_stream(self._timeline.place(raw.info))
            begun = time.perf_counter_ns()
            try:
                masked = self._masker.mask(raw, cover)
            except PainterError:
                self._stats.dropped("painter_failed")
                raise
        self._stats.stage("paint", time.perf_counter_ns() - begun)
        with masked:
            if self._slating:
                self._slating = False
                self._log.append(Event(Kind.SLATE_ENDED, {}))
            self._count(item, masked)
            self._send(masked)
        self._last_info = masked.info

    def _cover(self, item: Analysed) -> Cover:
        info = item.raw.info
        targets = self._lookback.take(info.sequence)
        match item.report:
            case Reason() as reason:
                return WholeFrame(info.sequence, reason)
            case DetectionReport() as report:
                return self._policy_for(info).cover(report.sequence, report.detectors, targets)

    def _policy_for(self, info: FrameInfo) -> Covers:
        size = (info.width, info.height)
        if self._policy is None or size != self._policy_size:
            self._policy = self._makers.policy(*size)
            self._policy_size = size
        return self._policy

    def _send(self, masked: MaskedFrame) -> None:
        if self._encoder is None:
            raise PipelineError("a frame was to be sent without an encoder")
        begun = time.perf_counter_ns()
        packets = self._encoder.encode(masked)
        self._stats.stage("encode", time.perf_counter_ns() - begun)
        now_ns = self._clock.monotonic_ns()
        self._last_out_ns = now_ns
        self._publish(packets)
        if masked.is_slate:
            self._stats.slate()
        else:
            masks = len(masked.cover.regions) if isinstance(masked.cover, Regions) else 0
            self._stats.emitted(
                now_ns, masks=masks, latency_ns=now_ns - masked.info.captured_ns - self._lookback_ns
            )
        for sink in self._frame_sinks:
            sink.offer(masked)

    def _publish(self, packets: Sequence[MaskedPacket]) -> None:
        for packet in packets:
            for sink in self._packet_sinks:
                sink.publish(packet)

    def _on_stream(self, info: FrameInfo) -> FrameInfo:
        """Opens an encoder for frames like `info` where the present one does not fit; `info` with its epoch.

        A camera that was away and comes back with the same picture goes on in the same stream.
        """
        wanted = EncoderSpec(even(info.width), even(info.height), info.time_base, info.color, self._encoders)
        if self._encoder is None or self._spec != wanted:
            self._close_encoder()
            self._encoders += 1
            self._spec = dataclasses.replace(wanted, epoch=self._encoders)
            self._slate_maker = None
            self._encoder = self._encoder_scope.enter_context(self._makers.encoder(self._spec))
        return dataclasses.replace(info, epoch=self._encoders)

    def _close_encoder(self) -> None:
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            with self._encoder_scope:
                self._publish(encoder.flush())

    def _emit_slate(self, plan: SlatePlan, now_ns: int) -> None:
        last = self._last_info
        if last is None:
            (width, height), color = self._size_to_come(plan)
            last = FrameInfo(0, 0, LIVE_TIME_BASE, 0, now_ns, width, height, color)
        if not self._slating:
            self._slating = True
            self._log.append(Event(Kind.SLATE_STARTED, {"reason": self._slate_reason()}))
            self.request_keyframe()
        info = self._on_stream(self._timeline.slate(last, now_ns - self._lookback_ns))
        if self._slate_maker is None:
            self._slate_maker = SlateMaker(last.width, last.height, plan.lines)
        with self._slate_maker.slate(info) as slate:
            self._send(slate)

    def _size_to_come(self, plan: SlatePlan) -> tuple[tuple[int, int], ColorInfo]:
        """That of the first frame where it waits already: its encoder is then open before it leaves."""
        if not self._waiting:
            return plan.size, plan.color
        info = self._waiting[0].raw.info
        return (info.width, info.height), info.color

    def _slate_reason(self) -> str:
        """Why there is nothing safe to show, as far as can be seen from here."""
        if not self._stats.snapshot().connected:
            return "source_away"
        return "no_frame_yet" if self._last_info is None else "no_frame"

    def _count(self, item: Analysed, masked: MaskedFrame) -> None:
        match masked.cover:
            case WholeFrame(reason=reason):
                self._stats.hidden()
                self._note_whole(reason)
                whole: str | None = str(reason)
                operators: Mapping[str, int] = {}
            case Regions(regions=regions):
                whole = None
                operators = operators_of(regions)
        detections = DetectionTable.of(
            item.report.detections if isinstance(item.report, DetectionReport) else ()
        )
        self._tally.add(
            FrameTally(
                sequence=masked.info.sequence,
                detections=detections.by_class(),
                tracks=packed(TrackTable.of(item.tracks).ids_by_class()),
                lowest_score_permille=int(float(np.min(detections.scores)) * 1000) if detections else None,
                operators=operators,
                whole_reason=whole,
            )
        )

    def _note_whole(self, reason: Reason) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._whole is None:
            self._whole = _WholeEpisode(reason, Counter(), now_ns)
            self._log.append(Event(Kind.WHOLE_FRAME, {"state": "begun", "reason": str(reason)}))
        self._whole.frames[str(reason)] += 1
        self._whole = _WholeEpisode(self._whole.reason, self._whole.frames, now_ns)

    def _end_whole(self) -> None:
        if self._whole is not None:
            data: dict[str, Value] = {
                "state": "ended",
                "reason": str(self._whole.reason),
                "frames": self._whole.frames.total(),
                "reasons": dict(sorted(self._whole.frames.items())),
            }
            self._whole = None
            self._log.append(Event(Kind.WHOLE_FRAME, data))


@dataclass(frozen=True, slots=True)
class _WholeEpisode:
    reason: Reason
    frames: Counter[str]
    last_ns: int
