"""CCPD: the plate's box is in the file's name."""

from __future__ import annotations

import re
from pathlib import Path

from veil_models.dataset import Label, Picture
from veil_models.readers.sizes import picture_size

_BOX = re.compile(r"^[^-]*-[^-]*-(\d+)&(\d+)_(\d+)&(\d+)-")
"""Area, tilt, then the box's left top and right bottom corner: `025-95_113-154&383_386&473-...`."""


def read_ccpd(images: Path, source: str = "ccpd") -> list[Picture]:
    """Read every *.jpg below `images`. Names without a box are pictures without a plate (CCPD-NP)."""
    pictures = []
    for path in sorted(images.rglob("*.jpg")):
        width, height = picture_size(path)
        match = _BOX.match(path.name)
        labels: tuple[Label, ...] = ()
        if match is not None:
            x1, y1, x2, y2 = (float(v) for v in match.groups())
            labels = (Label("plate", x1, y1, x2 - x1, y2 - y1),)
        pictures.append(Picture(path, width, height, source, frozenset({"plate"}), labels))
    return pictures
