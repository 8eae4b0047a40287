"""Truth against the masks in an output: what is covered, what is not, and how much else is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.domain.detection import ObjectClass
from veil.domain.geometry import Box
from veil.errors import UsageError
from veil.frames.picture import Planes
from veil_eval_video.flat import Mask, flat_mask
from veil_eval_video.truth import TrueObject, Truth

COVERED = 0.8
"""Share of a true box that has to lie under masks."""
VISIBLE = 0.6
"""Share of an object that has to be seen for it to count; what is hidden more is neither missed nor hit."""
LEAST = {ObjectClass.FACE: 20.0, ObjectClass.PLATE: 24.0}
"""Sizes from which objects count, pixels (`TrueObject.size`)."""
BUCKETS = ((8.0, 16.0), (16.0, 32.0), (32.0, 96.0), (96.0, 1e9))
STRAY = 1.0
"""Masks further than this many widths and heights from each object lie where nothing is."""


@dataclass(slots=True)
class Count:
    """Object-frames of one class or size."""

    objects: int = 0
    covered: int = 0

    @property
    def share(self) -> float:
        return self.covered / self.objects if self.objects else float("nan")

    @property
    def uncovered(self) -> int:
        return self.objects - self.covered


@dataclass(slots=True)
class Coverage:
    """Sums over clips.

    Attributes:
        classes: of objects from LEAST on. buckets: of all sizes, by class and least size of BUCKETS.
        profiles: as classes, by class and profile.
        changes, object_s: how often objects change between covered and not, and for how long they are seen.
        masked, true, stray: pixels under masks, of true boxes, and of masks where nothing is.
        alarms: masks that appear where nothing is.
    """

    classes: dict[ObjectClass, Count] = field(default_factory=lambda: defaultdict(Count))
    buckets: dict[tuple[ObjectClass, float], Count] = field(default_factory=lambda: defaultdict(Count))
    profiles: dict[tuple[ObjectClass, str], Count] = field(default_factory=lambda: defaultdict(Count))
    changes: int = 0
    object_s: float = 0.0
    seconds: float = 0.0
    masked: float = 0.0
    true: float = 0.0
    stray: float = 0.0
    alarms: int = 0

    @property
    def area_ratio(self) -> float:
        return self.masked / self.true if self.true else float("nan")

    @property
    def stray_ratio(self) -> float:
        return self.stray / self.true if self.true else float("nan")

    @property
    def flicker_per_min(self) -> float:
        return self.changes / self.object_s * 60 if self.object_s else 0.0

    def uncovered_per_hour(self, kind: ObjectClass) -> float:
        """Object-frames of `kind` without cover per hour of video."""
        return self.classes[kind].uncovered / self.seconds * 3600 if self.seconds else 0.0

    @property
    def alarms_per_hour(self) -> float:
        """False alarms per hour of video: however long a mask stays, it is one."""
        return self.alarms / self.seconds * 3600 if self.seconds else 0.0

    def add(self, truth: Truth, output: Iterable[Planes]) -> None:
        """One clip. Raises UsageError where the output has another size or another number of frames."""
        last: dict[int, bool] = {}
        stray: Mask | None = None
        shown = 0
        for number, planes in enumerate(output):
            if number < len(truth.frames):
                if planes.y.shape != (truth.height, truth.width):
                    raise UsageError(f"{truth.clip}: the output has another size.", hint="Do not scale it.")
                stray = self._frame(truth, truth.frames[number], flat_mask(planes), last, stray)
            shown += 1
        if shown != len(truth.frames):
            raise UsageError(
                f"{truth.clip} has {len(truth.frames)} frames, its output {shown}.",
                hint="Frames must be kept one to one.",
            )
        self.seconds += truth.seconds

    def _frame(
        self,
        truth: Truth,
        objects: Sequence[TrueObject],
        mask: Mask,
        last: dict[int, bool],
        stray_before: Mask | None,
    ) -> Mask:
        """Returns the frame's masks where nothing is."""
        sums = np.asarray(cv2.integral(mask), np.int64)
        for each in objects:
            if each.visible < VISIBLE:
                last.pop(each.track_id, None)
                continue
            is_covered = _under(sums, each.box) >= COVERED
            self._count(truth, each, covered=is_covered)
            before = last.get(each.track_id)
            self.changes += before is not None and before != is_covered
            self.object_s += 1 / truth.frame_rate
            last[each.track_id] = is_covered
        boxes = [each.box for each in objects]
        self.masked += float(sums[-1, -1])
        self.true += float(_area(boxes, mask).sum())
        near = _area([box.grown(STRAY) for box in boxes], mask)
        stray = np.asarray(mask & (1 - near), np.uint8)
        self.stray += float(stray.sum())
        self.alarms += _new(stray, stray_before)
        return stray

    def _count(self, truth: Truth, each: TrueObject, *, covered: bool) -> None:
        least = next((low for low, high in BUCKETS if low <= each.size < high), BUCKETS[0][0])
        counts = [self.buckets[each.kind, least]]
        if each.size >= LEAST.get(each.kind, 0.0):
            counts += [self.classes[each.kind], self.profiles[each.kind, truth.profile]]
        for count in counts:
            count.objects += 1
            count.covered += covered


def _new(mask: Mask, before: Mask | None) -> int:
    """How many connected parts of a mask touch none of the frame before."""
    count, parts = cv2.connectedComponents(mask)
    known = 0 if before is None else len(np.unique(parts[(before > 0) & (mask > 0)]))
    return count - 1 - known


def _edges(box: Box, height: int, width: int) -> tuple[int, int, int, int]:
    x0, x1 = (min(max(round(edge), 0), width) for edge in (box.x0, box.x1))
    y0, y1 = (min(max(round(edge), 0), height) for edge in (box.y0, box.y1))
    return x0, y0, x1, y1


def _under(sums: NDArray[np.int64], box: Box) -> float:
    """Share of that part of the box which lies in the frame that is masked; `sums` is the mask's integral."""
    x0, y0, x1, y1 = _edges(box, sums.shape[0] - 1, sums.shape[1] - 1)
    area = (x1 - x0) * (y1 - y0)
    if area <= 0:
        return 1.0
    return float(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]) / area


def _area(boxes: Sequence[Box], like: Mask) -> Mask:
    found = np.zeros_like(like)
    for box in boxes:
        x0, y0, x1, y1 = _edges(box, *like.shape)
        found[y0:y1, x0:x1] = 1
    return found
