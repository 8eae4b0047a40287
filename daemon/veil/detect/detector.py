"""The detector of one camera: RawFrame in, DetectionReport out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Protocol

import numpy as np

from veil.config import DetectorConfig
from veil.detect.bundle import Bundle, find_bundle, load_bundle
from veil.detect.decode import Decoder, Found, make_decoder, suppress
from veil.detect.merge import Seen, merge
from veil.detect.onnx import OnnxRuntime
from veil.detect.preprocess import Preprocessor
from veil.detect.runtime import OutputShapes, Runtime
from veil.detect.schedule import Tile, TileSchedule, affordable_tiles, snug
from veil.detect.tflite import TfliteRuntime
from veil.detect.thresholds import SizeBounds, effective
from veil.detect.view import InputLimit, View, tile_view, whole_view
from veil.domain.detection import CODES, DetectionReport, DetectionTable, ObjectClass
from veil.domain.thresholds import ClassThresholds
from veil.errors import BundleError, DetectorError
from veil.frames.picture import ColorInfo, Planes
from veil.frames.raw import RawFrame

_RECENT = 0.2
"""Share of the newest look in the running mean of what looks cost."""
STILL_SHARE = 0.4
"""How much of `large` counts in pictures that stand alone: no other look makes up for a missed face."""
_LATE_NS = 40_000_000
"""A live frame that has waited for longer has others behind it: it gets tiles as if there were no time."""


class Detector(Protocol):
    """What the pipeline needs of a detector. One thread at a time."""

    @property
    def identity(self) -> str:
        """`name@version`, as evidence names it."""
        ...

    @property
    def thresholds(self) -> Mapping[ObjectClass, ClassThresholds]:
        """For each class that this detector finds."""
        ...

    def detect(self, raw: RawFrame) -> DetectionReport:
        """Looks at the frame and leaves it as it is. Raises DetectorError."""
        ...


@dataclass(frozen=True, slots=True)
class StageTimings:
    """Microseconds of the last frame, tiles included."""

    resize_us: float = 0.0
    infer_us: float = 0.0
    decode_us: float = 0.0
    merge_us: float = 0.0


@dataclass(frozen=True, slots=True)
class _FramePlan:
    """All that depends on the frame's size."""

    whole: View
    tiles: Mapping[int, View]
    schedule: TileSchedule
    preprocessors: Mapping[tuple[int, ...], Preprocessor]


class BundleDetector:
    """A bundle's model over the whole frame each time, and over tiles in turn.

    Args:
        bundle: verified.
        runtime: with the bundle's model.
        decoder: made for the lowest of `thresholds`.
        config: schedule and input size; a model of fixed size keeps its own.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: Runtime,
        decoder: Decoder,
        thresholds: Mapping[ObjectClass, ClassThresholds],
        config: DetectorConfig,
    ) -> None:
        self._bundle = bundle
        self._runtime = runtime
        self._decoder = decoder
        self._thresholds = MappingProxyType(dict(thresholds))
        self._config = config
        classes = bundle.manifest.classes
        self._codes = np.array([CODES[kind] for kind in classes], np.int64)
        self._least_side = np.array([thresholds[kind].min_size for kind in classes], np.float32)
        self._bounds = SizeBounds.of(thresholds)
        width, height = runtime.fixed_size or (config.input_width, config.input_height)
        multiple = bundle.manifest.input.multiple
        self._limit = InputLimit(width, height, multiple, dynamic=runtime.fixed_size is None)
        self._plan: _FramePlan | None = None
        self._planned_for = (0, 0)
        self._look_ms = 0.0
        self._timings = StageTimings()

    @property
    def identity(self) -> str:
        return self._bundle.identity

    @property
    def bundle(self) -> Bundle:
        return self._bundle

    @property
    def runtime(self) -> str:
        """Runtime and provider, for logs and evidence."""
        return self._runtime.described

    @property
    def thresholds(self) -> Mapping[ObjectClass, ClassThresholds]:
        return self._thresholds

    @property
    def last_timings(self) -> StageTimings:
        return self._timings

    def tiles_of(self, width: int, height: int) -> tuple[Tile, ...]:
        """The tiles of a frame of this even size, in order of rotation."""
        return self._plan_for(width, height).schedule.tiles

    def detect(self, raw: RawFrame) -> DetectionReport:
        """The whole frame and the next tiles; fewer where recent frames cost more than the time budget, and
        where this one comes late."""
        started = time.monotonic_ns()
        planes, info = raw.planes, raw.info
        height, width = planes.y.shape
        plan = self._plan_for(width, height)
        affordable = affordable_tiles(self._config.time_budget_ms, self._look_ms)
        if affordable < math.inf and started - info.captured_ns > _LATE_NS:
            affordable = 0.0
        tiles = plan.schedule.next(affordable)
        detections = self._bounds.judged(
            self._look(planes, info.color, plan, tiles), min(info.width, info.height)
        )
        return DetectionReport(
            sequence=info.sequence,
            detections=detections,
            detectors=(self.identity,),
            tiles=tuple(tile.index for tile in tiles),
            elapsed_ns=time.monotonic_ns() - started,
        )

    def detect_planes(
        self, planes: Planes, width: int, height: int, color: ColorInfo, tiles: Sequence[Tile] = ()
    ) -> DetectionTable:
        """The whole picture and exactly `tiles` (of `tiles_of`): for stills. The rotation stays as it is.

        `planes` have even sizes and hold the visible `width` x `height` at their top left.
        Raises DetectorError.
        """
        if planes.y.shape[0] not in {height, height + 1} or planes.y.shape[1] not in {width, width + 1}:
            raise DetectorError(f"planes of {planes.y.shape} do not hold a picture of {width}x{height}.")
        plan = self._plan_for(planes.y.shape[1], planes.y.shape[0])
        return self._look(planes, color, plan, tiles)

    def warm_up(self) -> None:
        """Runs the model once on black, so that the first frame costs what later ones cost.

        Raises BundleError where the model does not answer as its manifest says.
        """
        width, height = self._limit.width, self._limit.height
        black = Planes(*(np.zeros((height // by, width // by), np.uint8) for by in (1, 2, 2)))
        try:
            self.detect_planes(black, width, height, ColorInfo())
        except DetectorError as error:
            raise BundleError(
                f"bundle {self.identity} does not run: {error.message}",
                hint="Its manifest does not belong to its model; install another version.",
            ) from error
        self._look_ms = 0.0

    def close(self) -> None:
        """Frees the model."""
        self._runtime.close()

    def __enter__(self) -> BundleDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _plan_for(self, width: int, height: int) -> _FramePlan:
        if self._plan is None or self._planned_for != (width, height):
            self._plan = self._make_plan(width, height)
            self._planned_for = (width, height)
            self._look_ms = 0.0
        return self._plan

    def _make_plan(self, width: int, height: int) -> _FramePlan:
        whole = whole_view(width, height, self._limit)
        limit = self._limit.turned_for(width, height)
        overlap = self._config.tile_overlap
        tile_w, tile_h = limit.width, limit.height
        if limit.dynamic and (width > tile_w or height > tile_h):
            tile_w = snug(width, tile_w, overlap, limit.multiple)
            tile_h = snug(height, tile_h, overlap, limit.multiple)
        schedule = TileSchedule(width, height, tile_w, tile_h, overlap, self._config.tiles_per_frame)
        tiles = {
            tile.index: tile_view(tile.x0, tile.y0, tile.x1 - tile.x0, tile.y1 - tile.y0, limit)
            for tile in schedule.tiles
        }
        shapes = {_shape(view): view for view in (whole, *tiles.values())}
        preprocessors = {shape: Preprocessor(view, self._runtime.spec) for shape, view in shapes.items()}
        return _FramePlan(whole, tiles, schedule, preprocessors)

    def _look(
        self, planes: Planes, color: ColorInfo, plan: _FramePlan, tiles: Sequence[Tile]
    ) -> DetectionTable:
        height, width = planes.y.shape
        stages = [0, 0, 0]
        started = time.monotonic_ns()
        whole = plan.preprocessors[_shape(plan.whole)]
        needed = None if self._bundle.manifest.input.brighten else 1.0
        seen = [Seen(self._one(planes, color, whole, plan.whole, stages, needed), None)]
        # what is dark in a bright picture is no dark picture
        gain = whole.gain
        for tile in tiles:
            view = plan.tiles[tile.index]
            preprocessor = plan.preprocessors[_shape(view)]
            seen.append(Seen(self._one(planes, color, preprocessor, view, stages, gain), tile))
        looked = time.monotonic_ns()
        detections = self._reported(merge(seen, width, height))
        merged = time.monotonic_ns() - looked
        self._timings = StageTimings(stages[0] / 1e3, stages[1] / 1e3, stages[2] / 1e3, merged / 1e3)
        self._look_ms = _mean(self._look_ms, (looked - started) / 1e6 / len(seen))
        return detections

    def _one(
        self,
        planes: Planes,
        color: ColorInfo,
        preprocessor: Preprocessor,
        view: View,
        stages: list[int],
        gain: float | None,
    ) -> Found:
        """One look, in pixels of the frame. Adds nanoseconds of resize, inference, decoding to `stages`."""
        begin = time.monotonic_ns()
        tensor = preprocessor.fill(planes, color, view, gain)
        filled = time.monotonic_ns()
        outputs = self._runtime.run(tensor)
        inferred = time.monotonic_ns()
        candidates = self._decoder.candidates(outputs, view.input_width, view.input_height)
        found = suppress(candidates, self._bundle.manifest.decoder.nms_iou)
        found = Found(view.to_frame(found.boxes), found.scores, found.labels)
        decoded = time.monotonic_ns()
        stages[0] += filled - begin
        stages[1] += inferred - filled
        stages[2] += decoded - inferred
        return found

    def _reported(self, found: Found) -> DetectionTable:
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.float32(math.inf))
        kept = np.flatnonzero(sides >= self._least_side[found.labels])
        kept = kept[np.argsort(-found.scores[kept], kind="stable")]
        return DetectionTable(
            self._codes[found.labels[kept]],
            found.boxes[kept].astype(np.float64),
            found.scores[kept].astype(np.float64),
        )


class EveryTile:
    """A detector for pictures that stand alone: the whole picture and all of its tiles, not one in turn.

    Args:
        detector: stays the caller's, to close.
    """

    def __init__(self, detector: BundleDetector) -> None:
        self._detector = detector
        self._bounds = SizeBounds.of(detector.thresholds, STILL_SHARE)

    @property
    def identity(self) -> str:
        return self._detector.identity

    @property
    def thresholds(self) -> Mapping[ObjectClass, ClassThresholds]:
        return self._detector.thresholds

    def detect(self, raw: RawFrame) -> DetectionReport:
        """Raises DetectorError."""
        started = time.monotonic_ns()
        planes, info = raw.planes, raw.info
        height, width = planes.y.shape
        tiles = self._detector.tiles_of(width, height)
        found = self._detector.detect_planes(planes, width, height, info.color, tiles)
        return DetectionReport(
            sequence=info.sequence,
            detections=self._bounds.judged(found, min(info.width, info.height)),
            detectors=(self.identity,),
            tiles=tuple(tile.index for tile in tiles),
            elapsed_ns=time.monotonic_ns() - started,
        )


def _shape(view: View) -> tuple[int, ...]:
    return (view.width, view.height, view.content_width, view.content_height)


def _mean(before: float, now: float) -> float:
    return now if before == 0 else before + _RECENT * (now - before)


def load_detector(config: DetectorConfig) -> BundleDetector:
    """Finds, verifies and loads the configured bundle, and runs it once.

    Raises:
        BundleError: the bundle is missing, does not verify or does not run.
        RuntimeMissingError: the runtime or provider asked for is not installed.
        ConfigError: the input size or tiles do not fit the model.
    """
    return open_detector(load_bundle(find_bundle(config.bundle, config.bundle_dir)), config)


def open_detector(bundle: Bundle, config: DetectorConfig) -> BundleDetector:
    """As `load_detector`, for a bundle that is verified already."""
    manifest = bundle.manifest
    thresholds = effective(manifest.thresholds, config.thresholds)
    decoder = make_decoder(manifest.decoder, [thresholds[kind].low for kind in manifest.classes])
    detector = BundleDetector(
        bundle, _open_runtime(bundle, config, decoder.shapes), decoder, thresholds, config
    )
    detector.warm_up()
    return detector


def _open_runtime(bundle: Bundle, config: DetectorConfig, shapes: OutputShapes) -> Runtime:
    match config.runtime:
        case "onnx":
            return OnnxRuntime(bundle, config.provider, config.threads, shapes)
        case "tflite":
            return TfliteRuntime(bundle, config.threads, shapes)
