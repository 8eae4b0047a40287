"""The metric can fail: what is open counts as open, and what hides too much shows up."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from veil.domain.cover import Solid
from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.errors import UsageError
from veil.frames.picture import Planes
from veil.mask.painter import WHOLE
from veil_eval_video.coverage import Coverage
from veil_eval_video.truth import TrueObject, Truth
from veil_eval_video.video import read_planes

BLACK = Solid()
FACE, PLATE = ObjectClass.FACE, ObjectClass.PLATE


def paint(planes: Planes, boxes: Iterable[Box], colour: Solid = BLACK) -> Planes:
    copy = Planes(*(plane.copy() for plane in planes))
    for box in boxes:
        x0, y0, x1, y1 = (max(0, round(edge / 2)) for edge in (box.x0, box.y0, box.x1, box.y1))
        copy.y[2 * y0 : 2 * y1, 2 * x0 : 2 * x1] = colour.y
        copy.u[y0:y1, x0:x1] = colour.u
        copy.v[y0:y1, x0:x1] = colour.v
    return copy


def encoded(frames: Iterable[Planes], path: Path) -> Path:
    """As a program would write them: H.264 of few bits."""
    with av.open(str(path), "w") as out:
        stream = None
        for number, planes in enumerate(frames):
            height, width = planes.y.shape
            if stream is None:
                stream = out.add_stream("libx264", rate=30, options={"preset": "superfast", "crf": "30"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane, values in zip(frame.planes, planes, strict=True):
                rows = memoryview(plane).cast("B")
                for row in range(values.shape[0]):
                    start = row * plane.line_size
                    rows[start : start + values.shape[1]] = values[row].tobytes()
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        if stream is not None:
            out.mux(stream.encode(None))
    return path


def oracle(folder: Path, truth: Truth, *, without: int | None = None) -> Iterator[Planes]:
    """The clip with a mask over each true object, but one."""
    for planes, objects in zip(read_planes(folder / truth.clip), truth.frames, strict=True):
        boxes = [each.box.grown(0.1) for each in objects if each.track_id != without]
        yield paint(planes, boxes)


def largest(truth: Truth, kind: ObjectClass) -> TrueObject:
    seen = [each for frame in truth.frames for each in frame if each.kind is kind and each.visible > 0.9]
    return max(seen, key=lambda each: each.size)


def test_what_an_oracle_masks_is_covered_even_after_a_codec(made: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = made
    found = Coverage()
    found.add(truth, read_planes(encoded(oracle(folder, truth), tmp_path / "out.mp4")))
    assert found.classes[FACE].objects > 10
    assert found.classes[PLATE].objects > 10
    assert found.classes[FACE].share == 1
    assert found.classes[PLATE].share == 1
    assert 1 < found.area_ratio < 2
    assert found.stray_ratio < 0.02


@pytest.mark.parametrize("kind", [FACE, PLATE])
def test_an_object_that_is_known_to_be_open_counts_as_open(
    made: tuple[Path, Truth], kind: ObjectClass
) -> None:
    folder, truth = made
    missed = largest(truth, kind).track_id
    found = Coverage()
    found.add(truth, oracle(folder, truth, without=missed))
    open_ = sum(each.track_id == missed and each.visible >= 0.6 for frame in truth.frames for each in frame)
    # another object's mask may lie over it for a while
    assert 0 < found.classes[kind].uncovered <= open_
    assert found.classes[kind].uncovered >= 0.5 * open_
    assert found.uncovered_per_hour(kind) == pytest.approx(
        found.classes[kind].uncovered / truth.seconds * 3600
    )


def test_an_untouched_clip_is_open_throughout(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    found = Coverage()
    found.add(truth, read_planes(folder / truth.clip))
    assert found.classes[FACE].covered == found.classes[PLATE].covered == 0
    assert found.area_ratio == 0


@pytest.mark.parametrize("colour", [Solid(), WHOLE], ids=["mask", "whole frame"])
def test_a_black_frame_covers_all_and_shows_up_as_area(made: tuple[Path, Truth], colour: Solid) -> None:
    folder, truth = made
    black = (paint(each, [Box(0, 0, 4000, 4000)], colour) for each in read_planes(folder / truth.clip))
    found = Coverage()
    found.add(truth, black)
    assert found.classes[FACE].share == found.classes[PLATE].share == 1
    assert found.area_ratio > 3
    assert found.stray_ratio > 0.5


def test_each_mask_that_appears_where_nothing_is_is_one_false_alarm(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    nowhere = dataclasses.replace(truth, frames=tuple(() for _ in truth.frames))
    here, (right, bottom) = Box(16, 16, 48, 48), (truth.width, truth.height)
    there = Box(right - 48, bottom - 48, right - 16, bottom - 16)

    def masks() -> Iterator[Planes]:
        # One stays and moves, one comes and goes twice.
        for number, planes in enumerate(read_planes(folder / truth.clip)):
            moved = Box(here.x0 + 4 * number, here.y0, here.x1 + 4 * number, here.y1)
            yield paint(planes, [moved, *([there] if number in (1, 2, 4) else [])])

    found = Coverage()
    found.add(nowhere, masks())
    assert len(truth.frames) > 5
    assert found.alarms == 3
    assert found.alarms_per_hour == pytest.approx(3 / truth.seconds * 3600)


def test_a_mask_over_seventy_percent_is_not_enough(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    found = Coverage()

    def partly() -> Iterator[Planes]:
        for planes, objects in zip(read_planes(folder / truth.clip), truth.frames, strict=True):
            boxes = [each.box for each in objects]
            yield paint(planes, [Box(b.x0, b.y0, b.x1, b.y0 + 0.7 * b.height) for b in boxes])

    found.add(truth, partly())
    assert found.classes[FACE].share < 0.2


def test_masks_that_come_and_go_are_flicker(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    steady, flickering = Coverage(), Coverage()
    steady.add(truth, oracle(folder, truth))
    pairs = enumerate(zip(read_planes(folder / truth.clip), oracle(folder, truth), strict=True))
    flickering.add(truth, (masked if number % 2 else plain for number, (plain, masked) in pairs))
    assert steady.flicker_per_min == 0
    assert flickering.flicker_per_min > 500


def test_lost_frames_and_other_sizes_are_refused(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    frames = list(read_planes(folder / truth.clip))
    with pytest.raises(UsageError, match="12 frames, its output 11"):
        Coverage().add(truth, frames[1:])
    half = [Planes(each.y[:192], each.u[:96], each.v[:96]) for each in frames]
    with pytest.raises(UsageError, match="another size"):
        Coverage().add(truth, half)
