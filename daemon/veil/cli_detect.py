"""`veil detect`: what a bundle finds in a folder of pictures, as JSON, by the code that cameras use."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from veil.config import DetectorConfig, ThresholdConfig
from veil.detect.bundle import find_bundle, load_bundle
from veil.detect.detector import BundleDetector, open_detector
from veil.domain.detection import Detection, ObjectClass
from veil.errors import CaptureError, UsageError
from veil.frames.still import SUFFIXES, Still, read_still

LOWEST_SCORE = 0.01
"""Without a least score everything is listed, so that a precision-recall curve can be drawn."""
_HIGHEST_LOW = 0.5
ALL_TILES = 1_000_000


@dataclass(frozen=True, slots=True)
class DetectSummary:
    """What `detect_folder` did.

    Attributes:
        pictures: looked at; `unreadable` are the names of those that could not be.
        detections: entries written.
        identity, runtime: what looked.
        seconds: of all detection, without loading.
    """

    pictures: int
    unreadable: tuple[str, ...]
    detections: int
    identity: str
    runtime: str
    seconds: float

    @property
    def exit_code(self) -> int:
        """What the command returns: 0, or a CaptureError's code where pictures were unreadable."""
        return CaptureError.exit_code if self.unreadable else 0


def detect_folder(
    folder: Path,
    out: Path,
    *,
    bundle: str = "veil-s",
    bundle_dir: Path | None = None,
    size: tuple[int, int] = (640, 640),
    tiles: int = 0,
    min_score: float = LOWEST_SCORE,
    runtime: Literal["onnx", "tflite"] = "onnx",
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DetectSummary:
    """Writes a JSON list of {"file_name", "category", "bbox": [x, y, width, height], "score"} to `out`.

    `file_name` is relative to `folder` with `/`. `bbox` is in pixels of the picture with its EXIF orientation
    applied (what viewers show), cut to the picture, as the detector gives it: no margins, no tracking. Files
    come by name, detections of a file best first; the same input gives the same bytes. Unreadable pictures
    are named on stderr and in the summary, and the rest is written all the same. `out` is replaced as a whole
    or not at all.

    Args:
        bundle: a name, or a path where it has a `/`.
        folder: searched with its subfolders for pictures (`SUFFIXES`); links to folders are not followed.
        size: width, height of the letterbox; a model of fixed size keeps its own.
        tiles: how many tiles at native scale each picture gets besides, at most (0 none, ALL_TILES all).
        min_score: 0..1, least score of what is written.
        progress: called with pictures done and in all.

    Raises UsageError for a folder without pictures, BundleError for a bundle that cannot be used.
    """
    if not 0 <= min_score <= 1:
        raise UsageError(f"a least score of {min_score:g} is not between 0 and 1.", hint="Check --min-score.")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder.", hint="Create it, or choose another --out.")
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} exists and is not a file.", hint="Choose another --out.")
    names = picture_names(folder)
    try:
        config = DetectorConfig(
            runtime=runtime,
            threads=threads,
            input_width=size[0],
            input_height=size[1],
            tiles_per_frame=min(tiles, 64),
            thresholds=_thresholds(min_score),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']}.", hint="Check the options.") from error
    entries: list[dict[str, Any]] = []
    unreadable: list[str] = []
    with open_detector(load_bundle(find_bundle(bundle, bundle_dir)), config) as detector:
        started = time.monotonic()
        for done, name in enumerate(names, start=1):
            try:
                still = read_still((folder / name).read_bytes(), name)
            except (CaptureError, OSError) as error:
                sys.stderr.write(
                    f"{error if isinstance(error, CaptureError) else f'{name}: {error.strerror}'}\n"
                )
                unreadable.append(name)
            else:
                seen = _detect(detector, still, tiles)
                found = (_entry(name, each, still) for each in seen if each.score >= min_score)
                # Of a box beside the picture nothing is left.
                entries.extend(entry for entry in found if min(entry["bbox"][2:]) > 0)
            progress(done, len(names))
        seconds = time.monotonic() - started
        _write(out, entries)
        read = len(names) - len(unreadable)
        return DetectSummary(
            read, tuple(unreadable), len(entries), detector.identity, detector.runtime, seconds
        )


def picture_names(folder: Path) -> list[str]:
    """Names of all pictures below `folder`, relative, with `/`, sorted. Raises UsageError for none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", hint="Give a folder with pictures.")
    found = [
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for name in files
        if Path(name).suffix.lower() in SUFFIXES
    ]
    if not found:
        raise UsageError(
            f"there are no pictures in {folder}.", hint=f"Looked for {', '.join(sorted(SUFFIXES))}."
        )
    return sorted(found)


def _thresholds(min_score: float) -> dict[ObjectClass, ThresholdConfig]:
    low = min(max(min_score, LOWEST_SCORE), _HIGHEST_LOW)
    return {kind: ThresholdConfig(score=low, low=low) for kind in ObjectClass}


def _detect(detector: BundleDetector, still: Still, tiles: int) -> Sequence[Detection]:
    height, width = still.planes.y.shape
    chosen = detector.tiles_of(width, height)[:tiles] if tiles else ()
    return detector.detect_planes(still.planes, still.width, still.height, still.color, chosen)


def _entry(name: str, detection: Detection, still: Still) -> dict[str, Any]:
    box = detection.box
    x0, x1 = (min(max(side, 0.0), float(still.width)) for side in (box.x0, box.x1))
    y0, y1 = (min(max(side, 0.0), float(still.height)) for side in (box.y0, box.y1))
    return {
        "file_name": name,
        "category": detection.kind.value,
        "bbox": [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)],
        "score": round(detection.score, 5),
    }


def _write(out: Path, entries: list[dict[str, Any]]) -> None:
    """One entry a line, so that two results can be compared with a text tool."""
    text = "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n"
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        # A name that is no UTF-8 gets JSON's own escapes for its bytes.
        with part.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(
            f"{out} cannot be written: {error.strerror}.", hint="Choose another --out."
        ) from error
