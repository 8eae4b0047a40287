"""The newest masked picture of a camera, small enough for a message."""

from __future__ import annotations

import base64
import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from veil.domain.clock import NANOSECONDS
from veil.errors import CommandError

MAX_JPEG_BYTES: Final = 60_000 // 4 * 3
"""Its base64 has 60,000 characters."""

_MAX_FILE_BYTES: Final = 16 << 20
_MAX_PIXELS: Final = 64_000_000
_LEAST_SIDE: Final = 16
_QUALITY: Final = 75
_TRIES: Final = 6
_GOOD_ENOUGH: Final = 0.8


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG of at most `MAX_JPEG_BYTES`. `width`, `height` in pixels."""

    jpeg: bytes
    width: int
    height: int

    def base64(self) -> str:
        return base64.b64encode(self.jpeg).decode()


def newest_picture(path: Path, wall_ns: int, max_age_s: float) -> Picture:
    """Reads the JPEG that the camera's process keeps up to date; scaled down only where it is too large.

    Args:
        path: `CameraPlaces.snapshot`, which holds masked pictures and nothing else. No link is followed.
        wall_ns: the clock that files get their times from.

    Raises CommandError where there is none, or an old one. After the clock was set back, until the next
    picture, the age is not known and the picture counts as old.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError("There is no picture of this camera.", hint="Does it run?") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
            raise CommandError("What lies in the picture's place is none.")
        age_s = (wall_ns - found.st_mtime_ns) / NANOSECONDS
        # A second of tolerance: the kernel's file times are coarse.
        if not -1.0 <= age_s <= max_age_s:
            raise CommandError(
                f"The newest picture is {age_s:.0f} s old, over {max_age_s:.0f} s.",
                hint="The camera shows nothing, or does not run.",
            )
        content = file.read(_MAX_FILE_BYTES)
    return _fitting(content)


def _fitting(content: bytes) -> Picture:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise CommandError("The picture is larger than any that Veil writes.")
                image.load()
                if len(content) <= MAX_JPEG_BYTES:
                    return Picture(content, width, height)
                return _smaller(image.convert("RGB"), len(content))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CommandError("The picture cannot be read.", hint="Try again.") from None


def _smaller(image: Image.Image, size: int) -> Picture:
    """The largest of some sizes that fits: how well a picture compresses changes with its size."""
    least, most = 0.0, 1.0
    share = (MAX_JPEG_BYTES / size) ** 0.5
    best: Picture | None = None
    tries = 0
    while best is None or tries < _TRIES:
        tries += 1
        picture = _scaled(image, share)
        if len(picture.jpeg) <= MAX_JPEG_BYTES:
            best, least = picture, share
            if len(picture.jpeg) > _GOOD_ENOUGH * MAX_JPEG_BYTES:
                break
        else:
            most = share
        share = (least + most) / 2
    return best


def _scaled(image: Image.Image, share: float) -> Picture:
    width, height = (max(_LEAST_SIDE, round(side * share)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_QUALITY, subsampling="4:2:0", optimize=True)
    return Picture(out.getvalue(), width, height)
