"""A picture file as the detector sees it: I420 planes of even size, upright, in the colours of sRGB."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import PurePath

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from veil.errors import CaptureError
from veil.frames.picture import ColorInfo, PlaneArray, Planes

SUFFIXES = frozenset({".avif", ".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of pictures that are read and written."""
ONLY_READ = frozenset({".pbm", ".pgm", ".pnm", ".ppm"})
"""Of pictures that are read and not written."""
FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".jp2", ".jxl"})
"""Pictures that are known for what they are, and refused."""
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
# Further pictures of an MPO are other views or brightnesses of the first; they are left out.
_ONE_PICTURE = frozenset({"MPO"})
_SIXTEEN_BITS = frozenset({"PNG", "PPM"})
"""Formats whose 32-bit integers hold 16-bit grey."""
_WHITE = 255
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_WITH_PROFILES = frozenset({"CMYK", "L", "LAB", "RGB"})
_SRGB = ImageCms.createProfile("sRGB")
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

    What is transparent becomes black: it was not to be seen. Colours become those of sRGB.

    Raises CaptureError for bytes that are no picture, a broken one, one over MAX_PIXELS, more than one, or
    samples whose black and white nobody knows (32 bits, floating point).
    """
    suffix = PurePath(name).suffix.lower()
    if suffix in FOREIGN_SUFFIXES:
        raise CaptureError(
            f"{name}: {suffix} pictures cannot be read.", hint="Convert it to JPEG or PNG first."
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise CaptureError(
                    f"{name} is {width}x{height} pixels, too many.",
                    hint=f"At most {MAX_PIXELS} pixels and {MAX_SIDE} a side; scale it down.",
                )
            _check_single(image, name)
            rgb = np.asarray(_to_srgb(ImageOps.exif_transpose(_to_eight_bits(image, name))))
    except UnidentifiedImageError as error:
        raise CaptureError(f"{name} cannot be read as a picture.", hint="Is it one, and complete?") from error
    except BROKEN as error:
        raise CaptureError(
            f"{name} cannot be read as a picture: {error}.", hint="Repair or remove the file."
        ) from error
    return Still(i420(rgb), rgb.shape[1], rgb.shape[0])


def _check_single(image: Image.Image, name: str) -> None:
    count = 1 if image.format in _ONE_PICTURE else int(getattr(image, "n_frames", 1))
    if count == 1:
        return
    if image.format == "TIFF":
        hint = "Save each of its pages as a picture of its own first."
    else:
        hint = "It is an animation: convert it to a video (.mp4) first."
    raise CaptureError(f"{name} holds {count} pictures.", hint=hint)


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits as grey of 8, with its orientation and profile; Pillow would cut off what is over 255.
    All else as it is."""
    if image.mode == "F" or (image.mode == "I" and image.format not in _SIXTEEN_BITS):
        raise CaptureError(
            f"{name} has {'floating-point' if image.mode == 'F' else '32-bit or signed'} samples.",
            hint="Nobody knows which of them are black and white: convert it to 8 or 16 bits first.",
        )
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    samples = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = tags.get(_TIFF_BITS, (16,))[0]
    levels = (samples >> (bits - 8)).astype(np.uint8)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        levels = ~levels
    if (unseen := image.info.get("transparency")) is not None:
        levels[samples == unseen] = 0
    grey = Image.fromarray(levels)
    orientation, profile = image.getexif().get(ExifTags.Base.Orientation), image.info.get("icc_profile")
    if orientation is not None:
        grey.getexif()[ExifTags.Base.Orientation] = orientation
    if profile is not None:
        grey.info["icc_profile"] = profile
    return grey


def _to_srgb(image: Image.Image) -> Image.Image:
    """RGB as viewers show it. A colour profile that is broken, or for another kind of picture, is ignored."""
    profile = image.info.get("icc_profile")
    opaque = _over_black(image)
    if not profile:
        return opaque.convert("RGB")
    described = (
        opaque if opaque.mode in _WITH_PROFILES else opaque.convert("L" if opaque.mode == "1" else "RGB")
    )
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        shown = ImageCms.profileToProfile(described, given, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        shown = None
    return opaque.convert("RGB") if shown is None else shown


def _over_black(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    unseen = image.info.get("transparency")
    if isinstance(unseen, tuple) and max(unseen) > _WHITE:
        # Said in 16 bits, of which the picture has kept the upper 8.
        image.info["transparency"] = tuple(level >> 8 for level in unseen)
    grey = image.mode in {"1", "L", "LA", "La"}
    shown = image.convert("RGBA")
    opaque = Image.new("RGB", image.size)
    opaque.paste(shown, mask=shown.getchannel("A"))
    return opaque.convert("L") if grey else opaque


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
