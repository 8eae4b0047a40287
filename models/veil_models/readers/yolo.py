"""YOLO: one text file for each picture, lines of `class cx cy w h` as shares of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from veil_models.dataset import Label, Picture
from veil_models.errors import ModelsError
from veil_models.picture_file import picture_size, pictures_below
from veil_models.readers.checks import number, read_text

_ROUNDING = 0.001
"""How far beyond 0 and 1 a share may lie."""


def read_yolo(
    images: Path, labels: Path, names: Mapping[int, str | None], source: str, labelled: frozenset[str]
) -> list[Picture]:
    """Read every picture below `images`; its labels are `labels`/same/path.txt, a missing file means none.

    `names[k]` is our name of class k, None for a class that we do not detect. ModelsError names file and line
    of what is no box (outlines, pixels in place of shares), and says when no picture has a file of labels.
    Boxes without area vanish.
    """
    texts = {p: (labels / p.relative_to(images)).with_suffix(".txt") for p in pictures_below(images)}
    if not any(text.is_file() for text in texts.values()):
        path, text = next(iter(texts.items()))
        raise ModelsError(f"{labels}: no picture has labels there; those of {path} would be {text}.")
    return [_read(path, text, names, source, labelled) for path, text in texts.items()]


def _read(
    path: Path, text: Path, names: Mapping[int, str | None], source: str, labelled: frozenset[str]
) -> Picture:
    width, height = picture_size(path)
    rows = read_text(text).splitlines() if text.is_file() else []
    found = [
        _label(row.split(), width, height, names, f"{text}:{line}")
        for line, row in enumerate(rows, 1)
        if row.strip()
    ]
    kept = tuple(b for b in found if b is not None and b.w > 0 and b.h > 0)
    return Picture(path, width, height, source, labelled, kept)


def _label(
    fields: list[str], width: int, height: int, names: Mapping[int, str | None], where: str
) -> Label | None:
    if len(fields) != 5:
        raise ModelsError(
            f"{where}: {len(fields)} fields; a box is `class cx cy w h`, and outlines are not read."
        )
    kind, *shares = (number(field, where) for field in fields)
    if not kind.is_integer() or int(kind) not in names:
        known = ", ".join(str(k) for k in sorted(names))
        raise ModelsError(f"{where}: class {kind:g} has no name; those of {known} are known.")
    if not all(-_ROUNDING <= share <= 1 + _ROUNDING for share in shares):
        raise ModelsError(f"{where}: {' '.join(fields[1:])} are no shares of the picture, 0 to 1.")
    name = names[int(kind)]
    if name is None:
        return None
    cx, cy, w, h = (share * side for share, side in zip(shares, (width, height) * 2, strict=True))
    return Label(name, cx - w / 2, cy - h / 2, w, h)
