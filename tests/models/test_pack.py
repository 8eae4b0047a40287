"""The pack holds the pixels of the files as they are now."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veil_models import pack as pack_module
from veil_models.dataset import Picture
from veil_models.errors import ModelsError
from veil_models.pack import Pack, build_pack


def picture(path: Path, shade: int, width: int = 40, height: int = 20) -> Picture:
    Image.fromarray(np.full((height, width, 3), shade, np.uint8)).save(path)
    return Picture(path, width, height, "s", frozenset())


def shades(pack: Pack, count: int) -> list[int]:
    found = []
    for i in range(count):
        (shade,) = np.unique(pack.picture(i))
        found.append(int(shade))
    return found


def spoil(*paths: Path) -> None:
    """Files that look unchanged and cannot be decoded any more."""
    for path in paths:
        was = path.stat()
        path.write_bytes(bytes(was.st_size))
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def nothing_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack_module, "ProcessPoolExecutor", None)


def test_pixels_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(tmp_path / "a.png", 10), picture(tmp_path / "b.png", 20, 30, 50)]
    build_pack(pictures, tmp_path / "pack", 1)
    nothing_decoded(monkeypatch)
    assert shades(build_pack(pictures, tmp_path / "pack", 1), 2) == [10, 20]


def test_a_picture_replaced_under_its_name_is_decoded_anew(tmp_path: Path) -> None:
    pictures = [picture(tmp_path / "a.png", 10), picture(tmp_path / "b.png", 20)]
    build_pack(pictures, tmp_path / "pack", 1)
    picture(tmp_path / "b.png", 30)
    assert shades(build_pack(pictures, tmp_path / "pack", 1), 2) == [10, 30]


def test_a_picture_of_another_size_is_not_read_with_old_pixels(tmp_path: Path) -> None:
    pictures = [picture(tmp_path / "a.png", 10), picture(tmp_path / "b.png", 20)]
    build_pack(pictures, tmp_path / "pack", 1)
    changed = [replace(pictures[0], width=20, height=40), pictures[1]]
    with pytest.raises(ModelsError, match=r"a\.png: is 40x20, its annotations say 20x40 \(its EXIF"):
        build_pack(changed, tmp_path / "pack", 1)


def test_other_pictures_keep_their_pixels_when_some_are_added_and_moved(tmp_path: Path) -> None:
    a, b = picture(tmp_path / "a.png", 10), picture(tmp_path / "b.png", 20, 30, 50)
    build_pack([a, b], tmp_path / "pack", 1)
    spoil(a.path, b.path)
    pack = build_pack([picture(tmp_path / "c.png", 30), b, a], tmp_path / "pack", 1)
    assert shades(pack, 3) == [30, 20, 10]


def test_bad_pictures_are_all_named_and_the_others_kept(tmp_path: Path) -> None:
    pictures = [picture(tmp_path / f"{name}.png", 10) for name in "abcd"]
    (tmp_path / "b.png").write_text("no picture")
    pictures[2] = replace(pictures[2], height=21)
    with pytest.raises(ModelsError) as caught:
        build_pack(pictures, tmp_path / "pack", 1)
    assert "mend these pictures, or take them out of the annotations (2):" in str(caught.value)
    assert "b.png: cannot be read" in str(caught.value)
    assert "c.png: is 40x20, its annotations say 40x21" in str(caught.value)
    with pytest.raises(ModelsError, match="mend these pictures"):
        build_pack(pictures, tmp_path / "pack", 1)
    # what was decoded beside the bad ones is there
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    pictures[2] = replace(pictures[2], height=20)
    spoil(pictures[0].path, pictures[3].path)
    assert shades(build_pack(pictures, tmp_path / "pack", 1), 4) == [10] * 4


def test_missing_pictures_are_told_before_hours_of_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_decoded(monkeypatch)
    missing = [Picture(tmp_path / f"{i}.png", 9, 9, "s", frozenset()) for i in range(12)]
    with pytest.raises(ModelsError, match=r"not there \(12\):\n(.*png.*\n){10}  \.\.\. and 2 more"):
        build_pack(missing, tmp_path / "pack", 1)


@pytest.mark.parametrize("index", ['["a.png"]', "[", '{"pictures": []}', '{"pictures": [["a.png", 1, 1]]}'])
def test_a_pack_of_an_earlier_version_or_a_damaged_one_is_made_anew(tmp_path: Path, index: str) -> None:
    pictures = [picture(tmp_path / "a.png", 10)]
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "index.json").write_text(index)
    (tmp_path / "pack" / "pixels.bin").write_bytes(bytes(40 * 20 * 3))
    assert shades(build_pack(pictures, tmp_path / "pack", 1), 1) == [10]


def test_a_pack_without_all_its_pixels_is_made_anew(tmp_path: Path) -> None:
    pictures = [picture(tmp_path / "a.png", 10)]
    build_pack(pictures, tmp_path / "pack", 1)
    (tmp_path / "pack" / "pixels.bin").write_bytes(b"")
    assert shades(build_pack(pictures, tmp_path / "pack", 1), 1) == [10]


def test_no_pictures_are_an_empty_pack(tmp_path: Path) -> None:
    pack = build_pack([], tmp_path / "pack", 1)
    assert len(pack.shape) == len(pack.part([]).shape) == 0


def test_large_pictures_are_scaled_to_what_their_labels_are(tmp_path: Path) -> None:
    pixels = np.zeros((1500, 3000, 3), np.uint8)
    pixels[:, 1500:] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = build_pack(
        [Picture(tmp_path / "a.png", 1280, 640, "s", frozenset())], tmp_path / "pack", 1
    ).picture(0)
    assert found.shape == (640, 1280, 3)
    assert found[:, :635].max() == 0
    assert found[:, 645:].min() == 200


def test_pictures_up_to_the_limit_keep_every_pixel(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 1280, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    pack = build_pack([Picture(tmp_path / "a.png", 1280, 32, "s", frozenset())], tmp_path / "pack", 1)
    assert (pack.picture(0) == noise).all()
    assert json.loads((tmp_path / "pack" / "index.json").read_text())["pictures"][0][1:3] == [32, 1280]
