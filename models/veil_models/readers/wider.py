"""WIDER FACE: one text file of blocks: file name, count, and a line for each face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from veil_models.dataset import Label, Picture
from veil_models.errors import ModelsError
from veil_models.picture_file import picture_size
from veil_models.readers.checks import check_place, number, read_text

_INVALID = 7
"""Column of the flag that marks a box as not a usable face."""


def read_wider(annotations: Path, images: Path, source: str = "wider") -> list[Picture]:
    """Read wider_face_*_bbx_gt.txt; faces flagged invalid become ignore regions, boxes without area vanish.

    ModelsError names file and line.
    """
    pictures = list(_blocks(read_text(annotations).splitlines(), images, source, annotations))
    if not pictures:
        raise ModelsError(f"{annotations}: names no picture.")
    return pictures


def _blocks(lines: list[str], images: Path, source: str, annotations: Path) -> Iterator[Picture]:
    at = 0
    while at < len(lines):
        name = lines[at].strip()
        at += 1
        if not name:
            continue
        count = lines[at].strip() if at < len(lines) else ""
        if not count.isdecimal():
            raise ModelsError(f"{annotations}:{at}: {name!r} is not followed by its count of faces.")
        at += 1
        # as published a picture without faces still has one line, all zeros; some copies lack it
        zeros = count == "0" and at < len(lines) and set(lines[at].split()) == {"0"}
        rows = range(at, at + (1 if zeros else int(count)))
        path = images / name
        width, height = picture_size(path)
        found = (_label(lines, row, f"{annotations}:{row + 1}", width, height) for row in rows)
        labels = tuple(label for label in found if label is not None)
        yield Picture(path, width, height, source, frozenset({"face"}), labels)
        at = rows.stop


def _label(lines: list[str], row: int, where: str, width: int, height: int) -> Label | None:
    fields = lines[row].split() if row < len(lines) else []
    if len(fields) < 4:
        raise ModelsError(f"{where}: no box; the count above says that there is one.")
    x, y, w, h = (number(field, where) for field in fields[:4])
    if w <= 0 or h <= 0:
        return None
    label = Label("face", x, y, w, h, ignore=len(fields) > _INVALID and fields[_INVALID] == "1")
    check_place(label, width, height, where)
    return label
