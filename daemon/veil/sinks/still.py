"""Masked frames as still pictures: JPEG, PNG or WebP without any metadata."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image

from veil.errors import UsageError
from veil.frames.masked import MaskedFrame
from veil.sinks.beside import part_beside, remove_left_parts, remove_part, sync
from veil.sinks.pixels import to_rgb
from veil.sinks.segment_file import full_or_broken

FORMATS: Final = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_QUALITY: Final = 92


def encode_still(frame: MaskedFrame, suffix: str) -> bytes:
    """The picture at its visible size as the content of a file. Raises UsageError for an unknown suffix."""
    name = FORMATS.get(suffix.lower())
    if name is None:
        raise UsageError(f"pictures cannot be written as {suffix}.", hint=f"Use one of {', '.join(FORMATS)}.")
    info = frame.info
    pixels = to_rgb(frame.planes, info.color, info.width, info.height, info.height)
    return encode_rgb(Image.fromarray(pixels), name, _QUALITY)


def encode_rgb(picture: Image.Image, name: str, quality: int) -> bytes:
    """`picture` as a file of Pillow's format `name`, with nothing in it but pixels."""
    content = io.BytesIO()
    match name:
        case "JPEG":
            picture.save(content, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
        case "WEBP":
            picture.save(content, "WEBP", quality=quality, method=4)
        case "TIFF":
            picture.save(content, "TIFF", compression="tiff_lzw")
        case _:
            picture.save(content, name)
    return content.getvalue()


def write_still(frame: MaskedFrame, path: Path, whole: Callable[[Path], None] = lambda _: None) -> None:
    """Writes `path` whole or not at all; a file that is there is replaced.

    Args:
        whole: called with the complete file, safe on disk, before it gets its name; where it raises, the file
            goes.

    Raises UsageError for an unknown suffix, SinkError where the file cannot be written.
    """
    content = encode_still(frame, path.suffix)
    remove_left_parts(path)

    def durable(part: Path) -> None:
        sync(part)
        whole(part)

    replace_file(path, content, durable)


def replace_file(path: Path, content: bytes, whole: Callable[[Path], None] = lambda _: None) -> None:
    """Readers see the old content or the new one, never a part. `whole` is called with the complete part.

    Raises SinkError.
    """
    part = part_beside(path)
    try:
        part.write_bytes(content)
        whole(part)
        part.replace(path)
    except OSError as error:
        remove_part(part)
        raise full_or_broken(error, f"{path} cannot be written") from error
    except BaseException:
        remove_part(part)
        raise
