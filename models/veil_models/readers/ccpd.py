"""CCPD: the plate's box is in the file's name."""

from __future__ import annotations

import re
from pathlib import Path

from veil_models.dataset import Label, Picture
from veil_models.errors import ModelsError
from veil_models.picture_file import picture_size, pictures_below
from veil_models.readers.checks import check_place

_BOX = re.compile(r"^[^-]*-[^-]*-(\d+)&(\d+)_(\d+)&(\d+)-")
"""Area, tilt, then the box's left top and right bottom corner: `025-95_113-154&383_386&473-...`."""

_NO_PLATES = "ccpd_np"
"""The folder of CCPD whose pictures show no plate."""


def read_ccpd(images: Path, source: str = "ccpd") -> list[Picture]:
    """Read every picture below `images`. Pictures without a plate lie in a folder `ccpd_np`; elsewhere a name
    without a box is a ModelsError."""
    return [_read(path, source) for path in pictures_below(images)]


def _read(path: Path, source: str) -> Picture:
    width, height = picture_size(path)
    labels: tuple[Label, ...] = ()
    if _NO_PLATES not in (part.lower() for part in path.parts[:-1]):
        match = _BOX.match(path.name)
        if match is None:
            raise ModelsError(
                f"{path}: has no box in its name; pictures without a plate belong into a folder {_NO_PLATES}."
            )
        x1, y1, x2, y2 = (float(v) for v in match.groups())
        if x2 <= x1 or y2 <= y1:
            raise ModelsError(f"{path}: the box in its name has no area.")
        labels = (Label("plate", x1, y1, x2 - x1, y2 - y1),)
        check_place(labels[0], width, height, str(path))
    return Picture(path, width, height, source, frozenset({"plate"}), labels)
