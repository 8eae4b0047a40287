"""A picture file as the detector sees it: I420 planes of even size, orientation applied."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from veil.errors import CaptureError
from veil.frames.picture import ColorInfo, PlaneArray, Planes

SUFFIXES = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded, whatever a file is called: Pillow runs programs for some other formats. MPO is a JPEG."""
BROKEN = (
    OSError,
    SyntaxError,  # Pillow raises it for broken PNG
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for pictures that cannot be read."""
MAX_SIDE = 16384
MAX_PIXELS = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Still:
    """`planes` hold the visible `width` x `height` at the top left, the last row or column twice if odd."""

    planes: Planes
    width: int
    height: int
    color: ColorInfo = field(default_factory=ColorInfo)


def read_still(data: bytes, name: str) -> Still:
    """Decodes the bytes of a picture file; `name` is for messages.

    Raises CaptureError for bytes that are no picture, a broken one or one over MAX_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise CaptureError(
                    f"{name} is {width}x{height} pixels, too many.",
                    hint=f"At most {MAX_PIXELS} pixels and {MAX_SIDE} a side; scale it down.",
                )
            rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError as error:
        raise CaptureError(f"{name} cannot be read as a picture.", hint="Is it one, and complete?") from error
    except BROKEN as error:
        raise CaptureError(
            f"{name} cannot be read as a picture: {error}.", hint="Repair or remove the file."
        ) from error
    return Still(i420(rgb), rgb.shape[1], rgb.shape[0])


def i420(rgb: PlaneArray) -> Planes:
    """Planes of [H, W, 3] RGB, padded to even sizes by repeating the last row and column."""
    height, width = rgb.shape[:2]
    even = (
        np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if height % 2 or width % 2
        else rgb
    )
    flat = np.asarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), np.uint8).reshape(-1)
    height, width = even.shape[:2]
    luma, chroma = height * width, height * width // 4
    half = (height // 2, width // 2)
    return Planes(
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    )
