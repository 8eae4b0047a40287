"""WIDER FACE: one text file of blocks: file name, count, and a line for each face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from veil_models.dataset import Label, Picture
from veil_models.readers.sizes import picture_size

_INVALID = 7
"""Column of the flag that marks a box as not a usable face."""


def read_wider(annotations: Path, images: Path, source: str = "wider") -> list[Picture]:
    """Read wider_face_*_bbx_gt.txt; faces flagged invalid become ignore regions, boxes without area
    vanish."""
    lines = iter(annotations.read_text().splitlines())
    return list(_blocks(lines, images, source, annotations))


def _blocks(lines: Iterator[str], images: Path, source: str, annotations: Path) -> Iterator[Picture]:
    for name in lines:
        if not name.strip():
            continue
        count = next(lines, "").strip()
        if not count.isdigit():
            raise ValueError(f"{annotations}: {name}: no count of faces")
        # a picture without faces still has one line, all zeros
        rows = [next(lines, "").split() for _ in range(max(1, int(count)))]
        labels = []
        for row in rows:
            if len(row) < 4:
                raise ValueError(f"{annotations}: {name}: fewer lines than its count")
            x, y, w, h = (float(v) for v in row[:4])
            if w > 0 and h > 0:
                labels.append(Label("face", x, y, w, h, ignore=len(row) > _INVALID and row[_INVALID] == "1"))
        path = images / name.strip()
        width, height = picture_size(path)
        yield Picture(path, width, height, source, frozenset({"face"}), tuple(labels))
