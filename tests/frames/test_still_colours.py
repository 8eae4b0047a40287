"""Pictures of every kind of sample look to the detector, and leave, as viewers show them; or are refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from veil.errors import CaptureError
from veil.frames.still import Still, read_still

RAMP = np.tile(np.arange(0, 256, 4, np.uint8), (48, 1))


def shown(still: Still) -> NDArray[np.uint8]:
    flat = np.concatenate([plane.reshape(-1) for plane in still.planes])
    rgb = cv2.cvtColor(flat.reshape(-1, still.planes.y.shape[1]), cv2.COLOR_YUV2RGB_I420)
    return np.asarray(rgb[: still.height, : still.width], np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def tiff(bits: int, samples: bytes, *, white_is_zero: bool = False, order: str = "<") -> bytes:
    """Grey of 64x48 without compression, of kinds that Pillow does not write."""
    tags = [(256, 64), (257, 48), (258, bits), (259, 1), (262, 0 if white_is_zero else 1), (273, 8), (277, 1)]
    tags += [(278, 48), (279, len(samples))]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(samples))
    table = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    return head + samples + struct.pack(f"{order}H", len(tags)) + table + bytes(4)


def png16(colour_type: int, sample: bytes, unseen: bytes) -> bytes:
    """8x8 of one colour, of which `unseen` is transparent."""
    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    pixels = zlib.compress(8 * (b"\0" + 8 * sample))
    chunks = [(b"IHDR", header), (b"tRNS", unseen), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _packed_12() -> bytes:
    pairs = (RAMP.astype(np.uint16) << 4).reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()


_WIDE = RAMP.astype(np.uint16) << 8


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(RAMP)),
        saved(Image.fromarray(_WIDE)),
        saved(Image.fromarray(_WIDE), "TIFF"),
        saved(Image.fromarray(_WIDE), "PPM"),
        tiff(16, _WIDE.tobytes()),
        tiff(16, _WIDE.astype(">u2").tobytes(), order=">"),
        tiff(16, (65535 - _WIDE).tobytes(), white_is_zero=True),
        tiff(12, _packed_12()),
    ],
    ids=["8", "png16", "tiff16", "pgm16", "little-endian", "big-endian", "white-is-zero", "12"],
)
def test_grey_of_many_bits_keeps_its_levels(data: bytes) -> None:
    pixels = shown(read_still(data, "in"))
    assert np.abs(pixels.astype(int) - RAMP[..., None]).max() <= 2


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_comes_upright(kind: str) -> None:
    image = Image.fromarray(_WIDE)
    exif = image.getexif()
    exif[0x0112] = 6
    pixels = shown(read_still(saved(image, kind, exif=exif), "in"))
    assert pixels.shape == (64, 48, 3)
    assert np.abs(pixels.astype(int) - np.rot90(RAMP, -1)[..., None]).max() <= 2


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (Image.fromarray(RAMP.astype(np.int32) << 20), "32-bit"),
        (Image.fromarray(RAMP.astype(np.float32)), "floating-point"),
    ],
)
def test_samples_without_a_known_black_and_white_are_refused(image: Image.Image, word: str) -> None:
    with pytest.raises(CaptureError, match=rf"in\.tif has {word}.*8 or 16 bits"):
        read_still(saved(image, "TIFF"), "in.tif")


def _swapped() -> bytes:
    """A profile whose red is what sRGB calls green, and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda image: image, "PNG"),
        (lambda image: image, "JPEG"),
        (lambda image: image, "TIFF"),
        (lambda image: image, "WEBP"),
        (lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
        (lambda image: image.convert("RGBA"), "PNG"),
    ],
)
def test_colours_are_those_of_the_profile(make: Callable[[Image.Image], Image.Image], kind: str) -> None:
    image = make(Image.new("RGB", (64, 48), (220, 30, 30)))
    pixel = shown(read_still(saved(image, kind, icc_profile=_swapped(), quality=95), "in"))[20, 20]
    assert np.abs(pixel.astype(int) - (30, 220, 30)).max() <= 5


@pytest.mark.parametrize("profile", [b"no profile at all", _swapped()[:200]])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    image = Image.new("RGB", (64, 48), (220, 30, 30))
    pixel = shown(read_still(saved(image, icc_profile=profile), "in"))[20, 20]
    assert np.abs(pixel.astype(int) - (220, 30, 30)).max() <= 2


def test_a_profile_for_colours_is_ignored_in_grey() -> None:
    pixels = shown(read_still(saved(Image.fromarray(RAMP), icc_profile=_swapped()), "in"))
    assert np.abs(pixels.astype(int) - RAMP[..., None]).max() <= 2


def _with_alpha(mode: str) -> Image.Image:
    """Left half invisible, right half not."""
    image = Image.new("RGBA", (64, 48), (200, 200, 200, 255))
    image.paste((200, 200, 200, 0), (0, 0, 32, 48))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_nobody_could_see_is_black(mode: str) -> None:
    pixels = shown(read_still(saved(_with_alpha(mode)), "in")).astype(int)
    assert pixels[:, :30].max() <= 2
    assert np.abs(pixels[:, 34:] - 200).max() <= 2


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.new("L", (8, 8), 200), transparency=200),
        saved(Image.new("RGB", (8, 8), (200, 100, 50)), transparency=(200, 100, 50)),
        saved(Image.new("P", (8, 8), 1), transparency=1),
        png16(0, b"\xa0\x01", b"\xa0\x01"),
        png16(2, b"\xa0\x01\xa1\x01\xa2\x01", b"\xa0\x01\xa1\x01\xa2\x01"),
    ],
    ids=["grey", "colour", "palette", "grey16", "colour16"],
)
def test_a_colour_that_nobody_could_see_is_black(data: bytes) -> None:
    assert shown(read_still(data, "in")).max() <= 2


def test_other_colours_than_the_unseen_one_are_shown() -> None:
    assert abs(int(shown(read_still(png16(0, b"\xa0\x01", b"\xa0\x02"), "in"))[4, 4, 0]) - 160) <= 2


@pytest.mark.parametrize(
    ("kind", "hint"), [("TIFF", "Save each of its pages"), ("WEBP", "animation"), ("GIF", "animation")]
)
def test_several_pictures_in_one_file_are_refused_with_the_way_out(kind: str, hint: str) -> None:
    pages = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    with pytest.raises(CaptureError, match=f"holds 2 pictures.*{hint}"):
        read_still(saved(pages[0], kind, save_all=True, append_images=pages[1:]), "in")
