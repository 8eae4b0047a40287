"""An emitter with real look-back, policy, masker and encoder, fed frame by frame on a made clock."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fractions import Fraction

from pipeline.clock_made import MadeClock
from veil.analyse import Analysed
from veil.assemble import emitter_makers
from veil.audit.event import Event
from veil.audit.tally import Tally
from veil.config import CameraConfig, EncoderConfig, MaskConfig
from veil.domain.clock import media_ns
from veil.domain.cover import Cover, Reason, Regions
from veil.domain.detection import Detection, DetectionReport, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.emit import Emitter, EncoderSpec, Encodes, Makers, SlatePlan
from veil.encode.packet import MaskedPacket
from veil.errors import LogError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import FrameInfo
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.stats import CameraStats
from veil.timeline import FileTimeline, LiveTimeline, Timeline
from veil.track.tracker import Tracker

RATE = 25
WIDTH, HEIGHT = 96, 64
BASE = Fraction(1, 90_000)


@dataclass
class Notes:
    """A log that remembers, and fails when told to."""

    events: list[Event] = field(default_factory=list)
    is_broken: bool = False

    def append(self, event: Event) -> int:
        if self.is_broken:
            raise LogError("the log is gone")
        self.events.append(event)
        return len(self.events) - 1

    def kinds(self) -> list[str]:
        return [str(event.kind) for event in self.events]


@dataclass(frozen=True)
class Left:
    """A frame that left: number, cover, whether a slate, and when."""

    sequence: int
    cover: Cover
    is_slate: bool
    at_ns: int
    covers: tuple[tuple[int, int, int, int], ...]


class Output:
    """Feeds an emitter as the pipeline does. A context manager.

    Args:
        size: of slates before the first frame.
    """

    def __init__(
        self,
        *,
        lookback_s: float = 0.5,
        live: bool = True,
        capacity: int = 64,
        size: tuple[int, int] = (WIDTH, HEIGHT),
    ) -> None:
        self.clock = MadeClock()
        self.log = Notes()
        self.stats = CameraStats()
        self.pool = SlotPool(WIDTH, HEIGHT, 80)
        self.left: list[Left] = []
        self.packets: list[MaskedPacket] = []
        self.opened: list[EncoderSpec] = []
        self.capacity = capacity
        config = CameraConfig(
            name="made",
            source="rtsp://camera/",
            mask=MaskConfig(lookback_s=lookback_s),
            encoder=EncoderConfig(preset="ultrafast", bit_rate=500_000),
        )
        self.tracker = Tracker(config.tracker, {ObjectClass.FACE: ClassThresholds(0.3, 0.1)})
        self.makers = emitter_makers(config, lambda: float(RATE), self.clock)
        timeline: Timeline = LiveTimeline(self.clock.now_ns) if live else FileTimeline()
        self.emitter = Emitter(
            Makers(self._encoder, self.makers.lookback, self.makers.policy),
            lookback_ns=round(lookback_s * 1e9),
            capacity=lambda: self.capacity,
            timeline=timeline,
            slates=SlatePlan(0.7, ("made",), size) if live else None,
            packet_sinks=[self],
            frame_sinks=[self],
            log=self.log,
            tally=Tally(),
            stats=self.stats,
            clock=self.clock,
        )
        self._next = 0
        self._media = 0

    def _encoder(self, spec: EncoderSpec) -> AbstractContextManager[Encodes]:
        self.opened.append(spec)
        return self.makers.encoder(spec)

    def publish(self, packet: MaskedPacket) -> None:
        self.packets.append(packet)

    def offer(self, frame: MaskedFrame) -> None:
        regions = frame.cover.regions if isinstance(frame.cover, Regions) else ()
        rects = tuple((r.shape.x0, r.shape.y0, r.shape.x1, r.shape.y1) for r in regions)  # type: ignore[union-attr]
        self.left.append(Left(frame.info.sequence, frame.cover, frame.is_slate, self.clock.now_ns, rects))

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.emitter.abandon()

    def frame(
        self,
        *,
        box: Box | None = None,
        reason: Reason | None = None,
        epoch: int = 0,
        step_s: float = 1 / RATE,
    ) -> int:
        """One frame comes, `step_s` after the last; its number."""
        self.clock.pass_s(step_s)
        self._media += round(step_s * 90_000)
        number, self._next = self._next, self._next + 1
        slot = self.pool.acquire(0)
        assert slot is not None
        slot.planes.y[...] = 100 + number % 50
        info = FrameInfo(number, self._media, BASE, epoch, self.clock.now_ns, WIDTH, HEIGHT)
        raw = RawFrame(info, slot, self.pool)
        found = () if box is None else (Detection(ObjectClass.FACE, box, 0.9),)
        now_ns = media_ns(info.pts, BASE)
        tracks = self.tracker.update(found, now_ns)
        report = reason or DetectionReport(number, found, ("made@1",))
        self.emitter.accept(Analysed(raw, now_ns, report, tracks))
        return number

    def quiet(self, seconds: float) -> None:
        """Nothing comes for so long; the output thread turns twenty times a second."""
        for _ in range(round(seconds * 20)):
            self.clock.pass_s(0.05)
            self.emitter.expect_nothing()
            self.emitter.tick()

    def busy(self, seconds: float) -> None:
        """A frame is being looked at for so long."""
        for _ in range(round(seconds * 20)):
            self.clock.pass_s(0.05)
            self.emitter.tick()

    def covered(self, number: int, box: Box) -> bool:
        """Whether `box` was under a mask when frame `number` left."""
        left = next(one for one in self.left if one.sequence == number and not one.is_slate)
        if not isinstance(left.cover, Regions):
            return True
        return any(
            x0 <= box.x0 and y0 <= box.y0 and x1 >= box.x1 and y1 >= box.y1 for x0, y0, x1, y1 in left.covers
        )

    def numbers(self) -> list[int]:
        """Of the frames that left, slates not counted."""
        return [one.sequence for one in self.left if not one.is_slate]
