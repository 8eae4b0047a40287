"""`veil detect`: every picture, in its own pixels, the same bytes each time, nothing left out in silence."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from detect.test_detector import scene
from veil.cli_detect import ALL_TILES, DetectSummary, detect_folder
from veil.detect.detector import BundleDetector
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.errors import CaptureError, UsageError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "b" / "ä").mkdir(parents=True)
    Image.fromarray(scene(640, 384, (320, 200, 16))).save(folder / "z.png")
    Image.fromarray(scene(1000, 701, (600, 300, 60))).save(folder / "b" / "odd.webp", lossless=True)
    Image.fromarray(scene(640, 384, (100, 100, 40))).save(folder / "b" / "ä" / "one.AVIF", quality=90)
    (folder / "notes.txt").write_text("no picture")
    return folder


def _run(
    folder: Path, bundles: Path, out: Path, **options: Any
) -> tuple[DetectSummary, list[dict[str, Any]]]:
    options = {"bundle": "spot", "bundle_dir": bundles, **options}
    summary = detect_folder(folder, out, **options)
    return summary, json.loads(out.read_text(encoding="utf-8"))


def test_every_picture_of_every_folder_is_looked_at(pictures: Path, bundles: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    summary, entries = _run(
        pictures, bundles, tmp_path / "out.json", progress=lambda at, of: done.append((at, of))
    )
    names = [each["file_name"] for each in entries]
    assert sorted(set(names)) == ["b/odd.webp", "b/ä/one.AVIF", "z.png"]
    assert names == sorted(names)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert (summary.pictures, summary.detections, summary.exit_code) == (3, len(entries), 0)
    assert set(entries[0]) == {"file_name", "category", "bbox", "score"}
    assert all(each["category"] == "face" for each in entries)
    x, y, w, h = next(each["bbox"] for each in entries if each["file_name"] == "b/odd.webp")
    assert x < 660
    assert x + w > 600
    assert y < 360
    assert y + h > 300


def test_the_same_pictures_give_the_same_bytes(pictures: Path, bundles: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "first.json", tmp_path / "second.json"]
    for out in outs:
        _run(pictures, bundles, out)
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_boxes_are_in_pixels_of_the_picture_as_viewers_show_it(bundles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "turned"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: viewers turn the picture by 90 degrees clockwise
    Image.fromarray(scene(640, 384, (0, 320, 60))).save(folder / "turned.jpg", exif=exif, quality=95)
    _, entries = _run(folder, bundles, tmp_path / "out.json")
    assert entries
    for each in entries:
        x, y, w, h = each["bbox"]
        assert x + w <= 70
        assert y + h <= 70
        assert x >= 0
        assert y >= 0


def test_an_unreadable_picture_is_named_and_the_rest_is_written(
    pictures: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (pictures / "z.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "empty.jpg").write_bytes(b"")
    summary, entries = _run(pictures, bundles, tmp_path / "out.json")
    assert summary.unreadable == ("cut.png", "empty.jpg")
    assert summary.exit_code != 0
    assert {each["file_name"] for each in entries} == {"b/odd.webp", "b/ä/one.AVIF", "z.png"}
    said = capsys.readouterr().err
    assert "cut.png" in said
    assert "empty.jpg" in said


def test_a_least_score_leaves_out_what_is_below_it(bundles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faint"
    folder.mkdir()
    Image.fromarray(scene(640, 384, (320, 200, 64), colour=(0, 43, 0))).save(folder / "a.png")  # 0.27
    assert _run(folder, bundles, tmp_path / "all.json")[1]
    assert _run(folder, bundles, tmp_path / "some.json", min_score=0.2)[1]
    assert not _run(folder, bundles, tmp_path / "none.json", min_score=0.4)[1]
    Image.fromarray(scene(640, 384, (320, 200, 64))).save(folder / "a.png")
    assert _run(folder, bundles, tmp_path / "high.json", min_score=0.95)[1]


def test_tiles_find_what_the_whole_picture_is_too_small_for(bundles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    Image.fromarray(scene(2560, 1920, (1284 - 3, 804 - 3, 6))).save(folder / "a.png")
    assert not _run(folder, bundles, tmp_path / "whole.json", min_score=0.3)[1]
    spots = [(x, y, 6) for x in range(1200, 1264, 7) for y in range(800, 864, 7)]
    rgb: NDArray[np.uint8] = scene(2560, 1920, *spots)
    Image.fromarray(rgb).save(folder / "a.png")
    assert _run(folder, bundles, tmp_path / "tiles.json", tiles=ALL_TILES, min_score=0.3)[1]


def test_both_runtimes_write_the_same_objects(pictures: Path, bundles: Path, tmp_path: Path) -> None:
    answers = [
        _run(
            pictures, bundles, tmp_path / f"{runtime}.json", runtime=runtime, size=(640, 384), min_score=0.3
        )[1]
        for runtime in ("onnx", "tflite")
    ]
    assert {each["file_name"] for each in answers[0]} == {each["file_name"] for each in answers[1]}


@pytest.mark.parametrize("options", [{"min_score": 1.5}, {"size": (10, 10)}, {"size": (641, 640)}])
def test_options_that_make_no_sense_are_refused(
    pictures: Path, bundles: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(Exception, match=r"score|--size, width|multiple") as refused:
        _run(pictures, bundles, tmp_path / "out.json", **options)
    assert getattr(refused.value, "hint", "")
    assert not (tmp_path / "out.json").exists()


def test_a_folder_without_pictures_is_refused(bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        _run(tmp_path / "empty", bundles, tmp_path / "out.json")
    with pytest.raises(UsageError, match="not a folder"):
        _run(tmp_path / "missing", bundles, tmp_path / "out.json")
    with pytest.raises(UsageError, match="not a folder"):
        _run(tmp_path / "empty", bundles, tmp_path / "nowhere" / "out.json")


def test_a_result_that_cannot_be_written_leaves_nothing_behind(
    pictures: Path, bundles: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "taken").write_text("x")
    with pytest.raises(UsageError, match="is not a file"):
        detect_folder(pictures, out, bundle="spot", bundle_dir=bundles)
    assert not list(tmp_path.glob(".out*"))


def test_a_full_disk_leaves_the_earlier_result(
    pictures: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out.json"
    out.write_text("earlier")
    monkeypatch.setattr("veil.cli_detect.os.fsync", full)
    with pytest.raises(UsageError, match="cannot be written: No space"):
        detect_folder(pictures, out, bundle="spot", bundle_dir=bundles)
    assert out.read_text() == "earlier"
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.shared
def test_a_real_face_is_found_in_a_folder(yunet: Path, astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    Image.fromarray(astronaut).save(folder / "astronaut.jpg", quality=90)
    _, entries = _run(folder, yunet, tmp_path / "out.json", bundle="yunet", min_score=0.5)
    assert len(entries) == 1
    x, y, w, h = entries[0]["bbox"]
    assert abs(x + w / 2 - 225) < 15
    assert abs(y + h / 2 - 118) < 20


def test_names_that_are_no_text_give_valid_json(bundles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    name = os.fsdecode(b"\xff.png")
    Image.fromarray(scene(640, 384, (320, 200, 40))).save(folder / name)
    _, entries = _run(folder, bundles, tmp_path / "out.json")
    assert {entry["file_name"] for entry in entries} == {name}


def test_what_is_no_file_is_never_replaced(pictures: Path, bundles: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a file"):
        _run(pictures, bundles, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_every_box_has_an_area(bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(scene(64, 64)).save(folder / "a.png")
    seen = tuple(
        Detection(ObjectClass.FACE, box, 0.9)
        for box in (Box(64.2, 3, 70, 9), Box(3, 63.999, 9, 70), Box(2, 2, 9, 9))
    )
    monkeypatch.setattr(BundleDetector, "detect_planes", lambda *_: seen)
    _, entries = _run(folder, bundles, tmp_path / "out.json")
    assert [entry["bbox"] for entry in entries] == [[2.0, 2.0, 7.0, 7.0]]


def test_what_is_no_picture_by_its_name_is_named(
    pictures: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "link").symlink_to(pictures / "b")
    summary, _ = _run(pictures, bundles, tmp_path / "out.json")
    assert (summary.pictures, summary.exit_code) == (3, 0)
    said = capsys.readouterr().err
    assert f"warning: left out of {pictures}: notes.txt (of no known kind, or no files)" in said
    assert f"warning: left out of {pictures}: link (links to folders)" in said


def test_what_cannot_be_read_is_named_as_every_error_is(
    pictures: Path, bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.heic", "b/b.jp2", "c.jxl"):
        (pictures / name).write_bytes(b"")
    pages = [Image.fromarray(scene(64, 64)), Image.fromarray(scene(64, 64, (9, 9, 9)))]
    for name in ("moving.gif", "moving.webp", "moving.png", "pages.tif"):
        pages[0].save(pictures / name, save_all=True, append_images=pages[1:])
    pages[0].save(pictures / "still.gif")
    summary, _ = _run(pictures, bundles, tmp_path / "out.json")
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("veil: ")]
    assert list(summary.unreadable) == [
        *("a.heic", "b/b.jp2", "c.jxl", "moving.gif", "moving.png", "moving.webp", "pages.tif")
    ]
    assert (summary.pictures, len(said)) == (4, 7)
    assert summary.exit_code != 0


def test_a_folder_that_may_not_be_read_is_an_error(
    pictures: Path, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = os.scandir

    # Root may look into every folder.
    def scandir(path: str) -> Any:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    summary, entries = _run(pictures, bundles, tmp_path / "out.json")
    assert summary.unreadable == ("b",)
    assert summary.exit_code != 0
    assert {entry["file_name"] for entry in entries} == {"z.png"}
    (pictures / "z.png").unlink()
    with pytest.raises(CaptureError, match="cannot be looked into: Permission denied"):
        _run(pictures, bundles, tmp_path / "again.json")


def test_a_size_that_the_model_does_not_take_is_refused(
    pictures: Path, bundles: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UsageError, match=r"--size: spot@.* takes 640x384 alone with tflite\. Leave --size out"
    ):
        _run(pictures, bundles, tmp_path / "out.json", runtime="tflite", size=(640, 640))
    assert _run(pictures, bundles, tmp_path / "out.json", runtime="tflite")[1]


def test_a_part_that_a_killed_process_left_goes(pictures: Path, bundles: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / f".out.json.{ended.pid}.part").write_text("half")
    _run(pictures, bundles, tmp_path / "out.json")
    assert not list(tmp_path.glob(".out*"))
