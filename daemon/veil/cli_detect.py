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

from veil.command_line import complain
from veil.config import DetectorConfig, ThresholdConfig
from veil.detect.bundle import Bundle, find_bundle, load_bundle
from veil.detect.detector import BundleDetector, open_detector
from veil.domain.detection import Detection, ObjectClass
from veil.errors import CaptureError, UsageError
from veil.folder import look_through
from veil.frames.still import FOREIGN_SUFFIXES, ONLY_READ, SUFFIXES, Still, read_still
from veil.sinks.beside import part_beside, remove_left_parts, remove_part

LOWEST_SCORE = 0.01
"""Without a least score everything is listed, so that a precision-recall curve can be drawn."""
_HIGHEST_LOW = 0.5
ALL_TILES = 1_000_000
_KNOWN = SUFFIXES | ONLY_READ | FOREIGN_SUFFIXES | {".gif"}
_USUAL_SIZE = (640, 640)
_OPTIONS = {
    "input_width": "--size, width",
    "input_height": "--size, height",
    "tiles_per_frame": "--tiles",
    "threads": "--threads",
}


@dataclass(frozen=True, slots=True)
class DetectSummary:
    """What `detect_folder` did.

    Attributes:
        pictures: looked at; `unreadable` are the names of those that could not be, and of such folders.
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
    size: tuple[int, int] | None = None,
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
    and folders are named on stderr and in the summary, and the rest is written all the same; files that are
    no pictures by their names are named too. `out` is replaced as a whole or not at all.

    Args:
        bundle: a name, or a path where it has a `/`.
        folder: searched with its subfolders for pictures; links to folders are not followed.
        size: width, height of the letterbox; unless given 640x640, or that of a model of fixed size.
        tiles: how many tiles at native scale each picture gets besides, at most (0 none, ALL_TILES all).
        min_score: 0..1, least score of what is written.
        progress: called with pictures done and in all.

    Raises UsageError for a folder without pictures and for another size than the model's fixed one,
    BundleError for a bundle that cannot be used.
    """
    if not 0 <= min_score <= 1:
        raise UsageError(f"a least score of {min_score:g} is not between 0 and 1.", hint="Check --min-score.")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder.", hint="Create it, or choose another --out.")
    if out.exists() and not out.is_file():
        raise UsageError(f"{out} exists and is not a file.", hint="Choose another --out.")
    names, unreadable = _look_through(folder)
    width, height = size or _USUAL_SIZE
    try:
        config = DetectorConfig(
            runtime=runtime,
            threads=threads,
            input_width=width,
            input_height=height,
            tiles_per_frame=min(tiles, 64),
            thresholds=_thresholds(min_score),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        raise UsageError(f"{_OPTIONS.get(key, key)}: {first['msg']}.", hint="Check the options.") from error
    entries: list[dict[str, Any]] = []
    loaded = load_bundle(find_bundle(bundle, bundle_dir))
    if size is not None:
        _check_size(loaded, size, runtime)
    with open_detector(loaded, config) as detector:
        started, read = time.monotonic(), 0
        for done, name in enumerate(names, start=1):
            try:
                still = _read(folder, name)
            except CaptureError as error:
                complain(error, "veil")
                unreadable.append(name)
            else:
                read += 1
                seen = _detect(detector, still, tiles)
                found = (_entry(name, each, still) for each in seen if each.score >= min_score)
                # Of a box beside the picture nothing is left.
                entries.extend(entry for entry in found if min(entry["bbox"][2:]) > 0)
            progress(done, len(names))
        seconds = time.monotonic() - started
        _write(out, entries)
        return DetectSummary(
            read, tuple(unreadable), len(entries), detector.identity, detector.runtime, seconds
        )


def _look_through(folder: Path) -> tuple[list[str], list[str]]:
    """Names of all pictures below `folder`, relative, with `/`, sorted; and of folders that cannot be looked
    into. Says what is left out. Raises UsageError for no pictures."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.", hint="Give a folder with pictures.")
    found = look_through(folder, _KNOWN)
    if not found.files and found.unreadable:
        raise found.unreadable[0].error
    if not found.files:
        raise UsageError(
            f"there are no pictures in {folder}.", hint=f"Looked for {', '.join(sorted(_KNOWN))}."
        )
    for sentence in found.left_out(folder):
        print(f"warning: {sentence}", file=sys.stderr)
    for closed in found.unreadable:
        complain(closed.error, "veil")
    return sorted(path.relative_to(folder).as_posix() for path in found.files), [
        closed.path.relative_to(folder).as_posix() for closed in found.unreadable
    ]


def _read(folder: Path, name: str) -> Still:
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise CaptureError(
            f"{name} cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    return read_still(data, name)


def _check_size(bundle: Bundle, size: tuple[int, int], runtime: Literal["onnx", "tflite"]) -> None:
    table = bundle.manifest.input
    fixed = {"tflite": table.tflite_size, "onnx": None if table.onnx_dynamic else table.size}[runtime]
    if fixed is not None and tuple(fixed) != size:
        raise UsageError(
            f"--size: {bundle.identity} takes {fixed[0]}x{fixed[1]} alone with {runtime}.",
            hint="Leave --size out.",
        )


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
    remove_left_parts(out)
    part = part_beside(out)
    try:
        # A name that is no UTF-8 gets JSON's own escapes for its bytes.
        with part.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(out)
    except OSError as error:
        remove_part(part)
        raise UsageError(
            f"{out} cannot be written: {error.strerror}.", hint="Choose another --out."
        ) from error
