"""Picture files: size and pixels, upright as every viewer shows them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from veil_models.errors import ModelsError

with contextlib.suppress(ImportError):  # where Pillow itself lacks AVIF
    import pillow_avif  # noqa: F401

Pixels = npt.NDArray[np.uint8]

_SUFFIXES = re.compile(r"\.(jpe?g|jpe|jfif|png|avif|webp|bmp|tiff?|jp2|gif|p[gpn]m|hei[cf])", re.IGNORECASE)
"""What counts as a picture in a folder; those that Pillow cannot read are told, not skipped."""

_LYING = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""


def pictures_below(folder: Path) -> list[Path]:
    """Every picture file below `folder`, sorted. ModelsError where there is none."""
    found = sorted(p for p in folder.rglob("*") if _SUFFIXES.fullmatch(p.suffix))
    if not found:
        raise ModelsError(f"{folder}: no pictures are below it; name the folder that holds them.")
    return found


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height as shown, from the file's header and its EXIF orientation. ModelsError names
    `path`."""
    with _opened(path) as image:
        # of TIFF, Pillow says the size as shown
        lying = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in _LYING
        return (image.height, image.width) if lying else (image.width, image.height)


def read_rgb(path: Path) -> Pixels:
    """Decode into [height, width, 3] RGB, turned by the EXIF orientation. ModelsError names `path`.

    Grey of more than 8 bits (infrared, thermal) keeps the 8 highest bits that the picture uses.
    """
    with _opened(path) as image:
        shown = ImageOps.exif_transpose(image)
        if shown.mode == "F":
            raise ModelsError(f"{path}: its samples are no integers; save it with 8 or 16 bits.")
        if shown.mode.startswith("I"):
            return np.repeat(_highest_bits(np.asarray(shown, np.int32), path)[..., None], 3, axis=2)
        return np.asarray(shown.convert("RGB"))


def _highest_bits(grey: npt.NDArray[np.int32], path: Path) -> Pixels:
    """Cameras of 10 to 14 bits write 16: taking the top of all 16 would make their pictures black."""
    if np.min(grey) < 0:
        raise ModelsError(f"{path}: has samples below zero; save it with 8 or 16 bits.")
    return np.asarray(grey >> max(0, int(np.max(grey)).bit_length() - 8), np.uint8)


def misfit(path: Path, found: tuple[int, int], said: tuple[int, int]) -> str | None:
    """What is wrong where a picture's size (width, height) is not what its annotations say; None: nothing."""
    if found == said:
        return None
    text = f"{path}: is {found[0]}x{found[1]}, its annotations say {said[0]}x{said[1]}"
    if found == said[::-1]:
        text += " (its EXIF orientation turns it, and its labels were drawn without; or it was turned later)"
    return text


def tell(wrong: Sequence[str], what: str, most: int = 10) -> None:
    """ModelsError that lists the first of what is wrong, if anything is."""
    if wrong:
        more = [f"... and {len(wrong) - most} more"] if len(wrong) > most else []
        raise ModelsError("\n  ".join([f"{what} ({len(wrong)}):", *wrong[:most], *more]))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise ModelsError(f"{path}: there is no such picture.") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        # Pillow raises all of these for damaged files
        raise ModelsError(
            f"{path}: cannot be read as a picture ({error}); mend it or leave it out."
        ) from error
