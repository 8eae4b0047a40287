"""YOLO: one text file for each picture, lines of `class cx cy w h` as shares of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from veil_models.dataset import Label, Picture
from veil_models.readers.sizes import picture_size

_SUFFIXES = (".jpg", ".jpeg", ".png", ".avif", ".webp", ".bmp")


def read_yolo(
    images: Path, labels: Path, names: Sequence[str | None], source: str, labelled: frozenset[str]
) -> list[Picture]:
    """Read every picture below `images`; its labels are `labels`/same/path.txt, a missing file means none.

    `names[k]` is our name of class k, None for a class that we do not detect.
    """
    pictures = []
    for path in sorted(p for p in images.rglob("*") if p.suffix.lower() in _SUFFIXES):
        width, height = picture_size(path)
        text = (labels / path.relative_to(images)).with_suffix(".txt")
        rows = text.read_text().splitlines() if text.exists() else []
        found = [_label(row, width, height, names, text) for row in rows if row.strip()]
        kept = tuple(b for b in found if b is not None and b.w > 0 and b.h > 0)
        pictures.append(Picture(path, width, height, source, labelled, kept))
    return pictures


def _label(row: str, width: int, height: int, names: Sequence[str | None], text: Path) -> Label | None:
    fields = row.split()
    if len(fields) < 5:
        raise ValueError(f"{text}: not a YOLO line: {row!r}")
    number = int(fields[0])
    if not 0 <= number < len(names):
        raise ValueError(f"{text}: class {number}, only {len(names)} are known")
    name = names[number]
    if name is None:
        return None
    cx, cy, w, h = (
        float(v) * side for v, side in zip(fields[1:5], (width, height, width, height), strict=True)
    )
    return Label(name, cx - w / 2, cy - h / 2, w, h)
