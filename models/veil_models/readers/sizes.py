"""Sizes of pictures whose annotations do not say them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header."""
    from PIL import Image

    with contextlib.suppress(ImportError):
        import pillow_avif  # noqa: F401
    with Image.open(path) as image:
        return image.size
