"""Still pictures: decoded, turned upright, and put into a slot as I420. Nothing else of the file is kept."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from veil.config import CaptureConfig
from veil.domain.clock import Clock
from veil.errors import CaptureError, FrameTooLargeError
from veil.frames.picture import ColorInfo, FrameInfo
from veil.frames.pool import SlotPool, even
from veil.frames.raw import RawFrame

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif"})
FULL_RANGE_BT601 = ColorInfo(full_range=True, primaries=2, transfer=2, matrix=6)


def read_still(path: Path, config: CaptureConfig, clock: Clock, *, sequence: int = 0) -> RawFrame:
    """The picture as a raw frame in a slot of its own, full range BT.601 as JPEG has it.

    Raises CaptureError for what is not a still picture, FrameTooLargeError before any pixel is decoded.
    """
    try:
        with Image.open(path) as image:
            _check_size(path, image, config)
            if getattr(image, "n_frames", 1) > 1:
                raise CaptureError(f"{path} is an animation.", hint="Convert it to a video first.")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CaptureError(f"{path} cannot be read as a picture: {error}.", hint="Is it complete?") from error
    rgb = np.asarray(upright, np.uint8)
    height, width = rgb.shape[:2]
    pool = SlotPool(width, height, 1)
    slot = pool.acquire(0)
    if slot is None:
        raise CaptureError(f"{path}: no memory for a picture.")
    padded = cv2.copyMakeBorder(rgb, 0, even(height) - height, 0, even(width) - width, cv2.BORDER_REPLICATE)
    ycc = cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb)
    slot.planes.y[...] = ycc[:, :, 0]
    half = (slot.width // 2, slot.height // 2)
    slot.planes.u[...] = cv2.resize(ycc[:, :, 2], half, interpolation=cv2.INTER_AREA)
    slot.planes.v[...] = cv2.resize(ycc[:, :, 1], half, interpolation=cv2.INTER_AREA)
    info = FrameInfo(
        sequence=sequence,
        pts=sequence,
        time_base=Fraction(1),
        epoch=sequence,
        captured_ns=clock.monotonic_ns(),
        width=width,
        height=height,
        color=FULL_RANGE_BT601,
    )
    return RawFrame(info, slot, pool)


def _check_size(path: Path, image: Image.Image, config: CaptureConfig) -> None:
    width, height = image.size
    most = (config.max_width, config.max_height)
    if not (width <= most[0] and height <= most[1]) and not (width <= most[1] and height <= most[0]):
        raise FrameTooLargeError(
            f"{path} is {width}x{height}, over the configured {most[0]}x{most[1]}.",
            hint="Raise capture.max_width and capture.max_height.",
        )
