"""The golden pictures of a bundle: does this model find on this machine what it found when released?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from veil.detect.detector import BundleDetector
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.errors import BundleError, CaptureError
from veil.frames.still import read_still

FOLDER = "golden"
EXPECTED = f"{FOLDER}/expected.json"
MIN_IOU = 0.4


class Expected(BaseModel):
    """One object of expected.json; `bbox` is x, y, width, height in pixels, `file_name` inside golden/."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file_name: str
    category: ObjectClass
    bbox: tuple[float, float, Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]

    @property
    def box(self) -> Box:
        x, y, width, height = self.bbox
        return Box(x, y, x + width, y + height)


@dataclass(frozen=True, slots=True)
class SelftestResult:
    """What a self-test measured.

    Attributes:
        expected, found: objects in the golden pictures, and those of them that were detected.
        floor: the manifest's least recall.
        median_ms: of a whole picture at the configured input size.
    """

    expected: int
    found: int
    floor: float
    median_ms: float

    @property
    def recall(self) -> float:
        return self.found / self.expected


def run_selftest(detector: BundleDetector) -> SelftestResult:
    """Looks at every golden picture, whole, with the detector's own masking thresholds.

    Raises BundleError where the bundle has no golden pictures or less is found than the manifest promises.
    """
    bundle = detector.bundle
    wanted = _expected(detector)
    times: list[float] = []
    found = 0
    for name in sorted({each.file_name for each in wanted}):
        path = f"{FOLDER}/{name}"
        try:
            still = read_still(bundle.read(path), path)
        except CaptureError as error:
            raise BundleError(f"bundle {bundle.identity}: {error.message}", hint=error.hint) from error
        started = time.monotonic_ns()
        seen = detector.detect_planes(still.planes, still.width, still.height, still.color)
        times.append((time.monotonic_ns() - started) / 1e6)
        masked = [each for each in seen if each.score >= detector.thresholds[each.kind].score]
        found += matched([each for each in wanted if each.file_name == name], masked)
    floor = bundle.manifest.selftest.min_recall
    result = SelftestResult(len(wanted), found, floor, sorted(times)[len(times) // 2])
    if result.recall < floor:
        raise BundleError(
            f"bundle {bundle.identity} finds {found} of {len(wanted)} objects in its golden pictures with "
            f"{detector.runtime}; its manifest promises {floor:.0%}.",
            hint="Do not use it on this machine; try another detector.runtime, provider or version.",
        )
    return result


def matched(wanted: Sequence[Expected], seen: Sequence[Detection]) -> int:
    """How many of `wanted` have a detection of their own class and picture at MIN_IOU, best scores first."""
    left = list(wanted)
    for detection in sorted(seen, key=lambda each: -each.score):
        fitting = [each for each in left if each.category == detection.kind]
        best = max(fitting, key=lambda each: each.box.iou(detection.box), default=None)
        if best is not None and best.box.iou(detection.box) >= MIN_IOU:
            left.remove(best)
    return len(wanted) - len(left)


def _expected(detector: BundleDetector) -> list[Expected]:
    bundle = detector.bundle
    if not bundle.has(EXPECTED):
        raise BundleError(
            f"bundle {bundle.identity} has no golden pictures ({EXPECTED}).",
            hint="Choose a bundle with a self-test.",
        )
    try:
        wanted = TypeAdapter(list[Expected]).validate_json(bundle.read(EXPECTED))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise BundleError(
            f"{EXPECTED} of bundle {bundle.identity} does not verify: {problem}.",
            hint="See docs/bundle-format.md.",
        ) from error
    classes = set(bundle.manifest.classes)
    strange = [
        each.file_name
        for each in wanted
        if each.category not in classes or not bundle.has(str(PurePosixPath(FOLDER) / each.file_name))
    ]
    if not wanted or strange:
        raise BundleError(
            f"{EXPECTED} of bundle {bundle.identity} names "
            + (
                f"{strange[0]}, which is not in the bundle, or a class it does not have."
                if wanted
                else "nothing."
            ),
            hint="See docs/bundle-format.md.",
        )
    return wanted
