"""The whole detector: objects where they are in the frame, small ones by tiles, errors as errors."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detect.bundles import MANIFEST, spot_model, write_bundle
from veil.config import DetectorConfig
from veil.detect.detector import BundleDetector, Detector, EveryTile, load_detector
from veil.domain.detection import ObjectClass
from veil.errors import DetectorError, LeaseError
from veil.frames.picture import ColorInfo, FrameInfo
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame
from veil.frames.still import i420

GREEN = (0, 255, 0)


def config(folder: Path, **settings: object) -> DetectorConfig:
    # however busy the machine: the time budget has tests of its own
    return DetectorConfig.model_validate(
        {"bundle": "spot", "bundle_dir": folder, "time_budget_ms": 1000.0, **settings}
    )


@pytest.fixture(scope="module")
def detector(bundles: Path) -> BundleDetector:
    return load_detector(config(bundles, tiles_per_frame=1))


def scene(
    width: int, height: int, *spots: tuple[int, int, int], colour: tuple[int, int, int] = GREEN
) -> NDArray[np.uint8]:
    """Black with squares: x, y of the corner, side."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for x, y, side in spots:
        rgb[y : y + side, x : x + side] = colour
    return rgb


def frame(rgb: NDArray[np.uint8], sequence: int = 0, *, waited_s: float = -3600.0) -> RawFrame:
    # Never late, however busy the machine, unless a test says so.
    height, width = rgb.shape[:2]
    pool = SlotPool(width, height, 1)
    slot = pool.acquire(1.0)
    assert slot is not None
    for target, source in zip(slot.planes, i420(rgb), strict=True):
        target[...] = source
    captured_ns = time.monotonic_ns() - int(waited_s * 1e9)
    return RawFrame(FrameInfo(sequence, sequence, Fraction(1, 25), 0, captured_ns, width, height), slot, pool)


def test_an_object_is_reported_where_it_is_in_the_frame(detector: BundleDetector) -> None:
    report = detector.detect(frame(scene(1920, 1080, (912, 504, 24)), sequence=7))
    assert report.sequence == 7
    assert report.detectors == ("spot@0.1.0",)
    assert [each.kind for each in report.detections] == [ObjectClass.FACE]
    centre = report.detections[0].box.centre
    assert centre == pytest.approx((924, 516), abs=12)
    assert report.detections[0].score > 0.9
    assert report.elapsed_ns > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(700, 1300), st.integers(400, 1300), st.floats(0.1, 0.85), st.floats(0.1, 0.85))
def test_odd_sizes_and_both_orientations_keep_objects_in_place(
    detector: BundleDetector, width: int, height: int, across: float, down: float
) -> None:
    x, y = int(width * across), int(height * down)
    report = detector.detect(frame(scene(width, height, (x, y, 60))))
    assert report.detections
    assert all(
        each.box.intersection_area(each.box.__class__(x, y, x + 60, y + 60)) for each in report.detections
    )


def test_what_is_too_small_for_the_whole_frame_is_found_by_its_tile(bundles: Path) -> None:
    detector = load_detector(config(bundles, tiles_per_frame=1))
    tile = detector.tiles_of(1920, 1080)[6]
    # At the centre of a cell of that tile; a third of it remains in the whole frame.
    raw = frame(scene(1920, 1080, (tile.x0 + 8 * 20 + 2, tile.y0 + 8 * 20 + 2, 5)))
    reports = [detector.detect(raw) for _ in range(16)]
    assert [report.tiles for report in reports] == [(index,) for index in range(16)]
    found = [bool(report.detections) for report in reports]
    assert found[6]
    assert not found[0]
    box = reports[6].detections[0].box
    assert box.centre == pytest.approx((tile.x0 + 164, tile.y0 + 164), abs=4)


def test_a_picture_that_stands_alone_is_looked_at_in_every_tile(bundles: Path) -> None:
    detector = load_detector(config(bundles, tiles_per_frame=1))
    tile = detector.tiles_of(1920, 1080)[6]
    raw = frame(scene(1920, 1080, (tile.x0 + 8 * 20 + 2, tile.y0 + 8 * 20 + 2, 5)), sequence=3)
    report = EveryTile(detector).detect(raw)
    assert (report.sequence, report.detectors) == (3, (detector.identity,))
    assert report.tiles == tuple(range(16))
    assert report.detections
    assert EveryTile(detector).thresholds == detector.thresholds


def test_without_a_time_budget_no_tile_is_dropped(bundles: Path) -> None:
    unhurried = config(bundles, tiles_per_frame=2).model_copy(update={"time_budget_ms": math.inf})
    detector = load_detector(unhurried)
    raw = frame(scene(1920, 1080))
    assert [len(detector.detect(raw).tiles) for _ in range(17)] == [2] * 17


def test_a_slow_machine_drops_tiles_and_never_all_of_them(bundles: Path) -> None:
    detector = load_detector(config(bundles, tiles_per_frame=2, time_budget_ms=0.001))
    raw = frame(scene(1920, 1080))
    tiles = [detector.detect(raw).tiles for _ in range(17)]
    assert len(tiles[0]) == 2  # nothing measured yet
    assert sum(map(len, tiles[1:])) == 2


def test_a_late_frame_gets_fewer_tiles_and_keeps_the_rotation(bundles: Path) -> None:
    detector = load_detector(config(bundles, tiles_per_frame=2))
    late = frame(scene(1920, 1080), waited_s=0.1)
    detector.detect(late)  # nothing measured yet
    tiles = [detector.detect(late).tiles for _ in range(16)]
    assert sum(map(len, tiles)) == 2
    assert len(detector.detect(frame(scene(1920, 1080))).tiles) == 2
    unhurried = load_detector(config(bundles).model_copy(update={"time_budget_ms": math.inf}))
    assert [len(unhurried.detect(late).tiles) for _ in range(3)] == [1, 1, 1]


def test_a_frame_of_another_size_is_looked_at_as_such(bundles: Path) -> None:
    detector = load_detector(config(bundles, tiles_per_frame=1))
    for width, height in ((1920, 1080), (640, 480), (321, 241), (1920, 1080)):
        report = detector.detect(frame(scene(width, height, (width // 2, height // 2, height // 8))))
        assert report.detections[0].box.centre == pytest.approx(
            (width / 2 + height / 16, height / 2 + height / 16), abs=height / 8
        )
    assert detector.tiles_of(320, 240) == ()


def test_small_objects_are_left_out_only_where_the_configuration_says_so(bundles: Path) -> None:
    raw = frame(scene(640, 384, (320, 200, 8)))
    everything = load_detector(config(bundles)).detect(raw).detections
    assert min(everything[0].box.width, everything[0].box.height) == 16
    large = load_detector(config(bundles, thresholds={"face": {"min_size": 17}}))
    assert large.detect(raw).detections == ()
    assert load_detector(config(bundles, thresholds={"plate": {"min_size": 17}})).detect(raw).detections


def test_the_configuration_overrides_the_bundle_s_thresholds_class_by_class(bundles: Path) -> None:
    thresholds = load_detector(config(bundles, thresholds={"face": {"score": 0.05}})).thresholds
    face, plate = thresholds[ObjectClass.FACE], thresholds[ObjectClass.PLATE]
    assert (face.score, face.low) == (0.05, 0.05)
    assert (plate.score, plate.low) == (0.30, 0.12)
    assert set(thresholds) == {ObjectClass.FACE, ObjectClass.PLATE}


def test_detections_below_the_masking_score_are_reported_down_to_low(bundles: Path) -> None:
    # A logit near -1 (score 0.25): green 43 gives 0.2 * 43 - 10, or a little more.
    raw = frame(scene(640, 384, (320, 200, 64), colour=(0, 43, 0)))
    found = load_detector(config(bundles)).detect(raw).detections
    assert found
    assert all(0.12 <= each.score < 0.30 for each in found)
    assert not load_detector(config(bundles, thresholds={"face": {"low": 0.3}})).detect(raw).detections


def test_a_large_box_needs_more_and_in_stills_less_than_in_moving_pictures(bundles: Path) -> None:
    raw = frame(scene(640, 48, (320, 10, 30), colour=(0, 43, 0)))  # boxes are 16 pixels large
    plain = load_detector(config(bundles)).detect(raw).detections
    strict = load_detector(config(bundles, thresholds={"face": {"large": 0.5}}))
    largest = max(max(each.box.width, each.box.height) for each in plain)
    assert largest >= 0.2 * 48
    assert all(0.2 < each.score < 0.24 for each in plain)
    assert all(max(each.box.width, each.box.height) < 0.2 * 48 for each in strict.detect(raw).detections)
    # 0.4 of 0.5 is less than what these score, 0.4 of 0.6 is not
    assert EveryTile(strict).detect(raw).detections == plain
    stricter = load_detector(config(bundles, thresholds={"face": {"large": 0.6}}))
    assert len(EveryTile(stricter).detect(raw).detections) < len(plain)


def test_a_masked_or_released_frame_is_not_looked_at(detector: BundleDetector) -> None:
    raw = frame(scene(640, 384))
    raw.release()
    with pytest.raises(LeaseError):
        detector.detect(raw)


def test_a_model_that_breaks_later_raises_and_does_not_report_an_empty_frame(tmp_path: Path) -> None:
    write_bundle(tmp_path / "spot", MANIFEST, {"model.onnx": spot_model()})
    detector = load_detector(config(tmp_path))
    whole = detector._runtime.run
    detector._runtime.run = lambda image: {  # type: ignore[method-assign]
        name: np.full_like(values, np.nan) for name, values in whole(image).items()
    }
    with pytest.raises(DetectorError, match="not finite"):
        detector.detect(frame(scene(640, 384)))


def test_planes_of_another_size_are_refused(detector: BundleDetector) -> None:
    with pytest.raises(DetectorError, match="100x100"):
        detector.detect_planes(i420(scene(640, 384)), 100, 100, ColorInfo())


def test_stills_leave_the_rotation_as_it_is(bundles: Path) -> None:
    detector = load_detector(config(bundles, tiles_per_frame=1))
    rgb = scene(1920, 1080)
    raw = frame(rgb)
    assert detector.detect(raw).tiles == (0,)
    detector.detect_planes(i420(rgb), 1920, 1080, ColorInfo(), detector.tiles_of(1920, 1080))
    assert detector.detect(raw).tiles == (1,)


def test_each_stage_is_timed(detector: BundleDetector) -> None:
    detector.detect(frame(scene(1920, 1080, (900, 500, 40))))
    timings = detector.last_timings
    assert min(timings.resize_us, timings.infer_us, timings.decode_us, timings.merge_us) > 0


def test_the_detector_is_what_the_pipeline_asks_for(detector: BundleDetector) -> None:
    wanted: Detector = detector
    assert wanted.identity == "spot@0.1.0"
