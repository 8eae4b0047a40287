"""Pictures and labels of others into a data folder: `train.json.gz`, and `val.json.gz` to measure by."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from veil_models.dataset import CLASSES, Dataset, Picture, drawn
from veil_models.errors import ModelsError
from veil_models.made import whole
from veil_models.picture_file import misfit, picture_size, tell
from veil_models.readers.ccpd import read_ccpd
from veil_models.readers.checks import Names
from veil_models.readers.coco import read_coco
from veil_models.readers.coco_out import write_coco
from veil_models.readers.voc import read_voc
from veil_models.readers.wider import read_wider
from veil_models.readers.yolo import read_yolo

_Given = TypeVar("_Given")


class Format(StrEnum):
    """Whose annotations."""

    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"
    WIDER = "wider"
    CCPD = "ccpd"


@dataclass(frozen=True, slots=True)
class Foreign:
    """Where a set lies and how it is meant; None is what nobody said.

    `annotations` is a file (COCO, WIDER) or a folder (VOC, YOLO); `labelled` are the classes of which every
    instance is marked.
    """

    format: Format
    images: Path | None = None
    annotations: Path | None = None
    names: Names | None = None
    labelled: frozenset[str] | None = None
    source: str | None = None


def parse_names(pairs: Sequence[str]) -> Names:
    """`theirs=ours`, or `theirs=none` for what is left out. Raises ModelsError."""
    names: dict[str, str | None] = {}
    for pair in pairs:
        theirs, _, ours = pair.rpartition("=")
        if not theirs or ours not in (*CLASSES, "none"):
            raise ModelsError(
                f"--names {pair!r} is not THEIRS=OURS, with OURS one of {', '.join(CLASSES)}, none."
            )
        if theirs in names:
            raise ModelsError(f"--names maps {theirs!r} twice.")
        names[theirs] = None if ours == "none" else ours
    return names


def read(foreign: Foreign) -> list[Picture]:
    """The set's pictures, each of which is there and as large as its annotations say. Raises ModelsError."""
    pictures = _read(foreign)
    tell([wrong for p in pictures if (wrong := _wrong_size(p))], "these do not fit their annotations")
    return pictures


def _read(foreign: Foreign) -> list[Picture]:
    images, annotations = foreign.images, foreign.annotations
    names, labelled = foreign.names, foreign.labelled
    source = foreign.source or foreign.format.value
    match foreign.format:
        case Format.COCO:
            found = read_coco(_need(annotations, "--annotations FILE"), images, names, longest=None)
            return [
                replace(
                    p,
                    source=p.source if foreign.source is None else source,
                    labelled=p.labelled if labelled is None else labelled,
                )
                for p in found
            ]
        case Format.VOC:
            folders = _need(annotations, "--annotations FOLDER"), _need(images, "--images FOLDER")
            return read_voc(*folders, _need(names, _NAMES), source, _need(labelled, _LABELLED))
        case Format.YOLO:
            folders = _need(images, "--images FOLDER"), _need(annotations, "--annotations FOLDER")
            numbers = _numbers(_need(names, _NAMES))
            return read_yolo(*folders, numbers, source, _need(labelled, _LABELLED))
        case Format.WIDER:
            _unused(foreign, names, labelled)
            return read_wider(
                _need(annotations, "--annotations FILE"), _need(images, "--images FOLDER"), source
            )
        case Format.CCPD:
            _unused(foreign, names, labelled, annotations)
            return read_ccpd(_need(images, "--images FOLDER"), source)


_NAMES = "--names THEIRS=OURS ..."
_LABELLED = "--labelled CLASS ... (the classes of which people marked every instance)"


def _need(value: _Given | None, option: str) -> _Given:
    if value is None:
        raise ModelsError(f"This format needs {option}.")
    return value


def _unused(foreign: Foreign, *values: object) -> None:
    if any(value is not None for value in values):
        raise ModelsError(f"{foreign.format} needs --images, --annotations (wider only) and --source alone.")


def _numbers(names: Names) -> dict[int, str | None]:
    try:
        return {int(theirs): ours for theirs, ours in names.items()}
    except ValueError:
        raise ModelsError("YOLO's classes are numbers: --names 0=face 1=none.") from None


def _wrong_size(picture: Picture) -> str | None:
    try:
        size = picture_size(picture.path)
    except ModelsError as error:
        return str(error)
    return misfit(picture.path, size, (picture.width, picture.height))


def targets(out: Path, share: float) -> list[Path]:
    """`out`, and val.json.gz beside it where it gets a share (0 to below 1). Raises ModelsError."""
    if not out.name.endswith(".json.gz"):
        raise ModelsError(f"--out {out}: its name has to end in .json.gz, as train.json.gz does.")
    if not 0 <= share < 1:
        raise ModelsError(f"--val {share:g} is no share from 0 to below 1.")
    val = out.with_name("val.json.gz")
    if share > 0 and val == out:
        raise ModelsError("--val is a share for val.json.gz: --out has to be another file.")
    return [out, val] if share > 0 else [out]


def divided(pictures: Dataset, out: Path, share: float) -> dict[Path, Dataset]:
    """What each of `targets` gets: the share for val.json.gz is fixed, by the hash of source and name."""
    files = targets(out, share)
    kept = {True: files[-1], False: out}
    return {path: [p for p in pictures if kept[drawn(p, share)] == path] for path in files}


def joined(parts: Mapping[Path, Dataset]) -> dict[Path, Dataset]:
    """`parts` after what their files hold already. ModelsError where a picture is in the folder's data."""
    stored: dict[Path, Dataset] = {}
    for folder in {path.parent for path in parts}:
        for path in {*parts, folder / "train.json.gz", folder / "val.json.gz"}:
            if path.exists():
                stored[path] = read_coco(path, longest=None)
    known = {picture.path.resolve(): path for path, old in stored.items() for picture in old}
    for picture in (p for part in parts.values() for p in part):
        holder = known.get(picture.path.resolve())
        if holder is not None:
            raise ModelsError(f"{picture.path} is in {holder} already.")
    return {path: [*stored.get(path, ()), *part] for path, part in parts.items()}


def write(parts: Mapping[Path, Dataset]) -> None:
    """Write each part where it belongs."""
    for path, pictures in parts.items():
        whole(path, functools.partial(write_coco, pictures, root=path.parent))
