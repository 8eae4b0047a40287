"""Every format becomes the same pictures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veil_models.dataset import Label, Origin, Picture, held_out
from veil_models.readers.ccpd import read_ccpd
from veil_models.readers.coco import read_coco
from veil_models.readers.coco_out import write_coco
from veil_models.readers.voc import read_voc
from veil_models.readers.wider import read_wider
from veil_models.readers.yolo import read_yolo

FACE = frozenset({"face"})


def picture(path: Path, width: int = 100, height: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)
    return path


def test_coco_keeps_partial_labels_ignores_and_teachers(tmp_path: Path) -> None:
    data = {
        "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "plate"}, {"id": 9, "name": "dog"}],
        "images": [
            {"id": 5, "file_name": "images/a.png", "width": 100, "height": 50, "source": "s", "labelled": [1]}
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "origin": "human"},
            {
                "id": 2,
                "image_id": 5,
                "category_id": 2,
                "bbox": [5, 6, 7, 8],
                "origin": "teacher",
                "score": 0.5,
                "iscrowd": 1,
            },
            {"id": 3, "image_id": 5, "category_id": 9, "bbox": [5, 6, 7, 8]},
            {"id": 4, "image_id": 5, "category_id": 1, "bbox": [5, 6, 0, 8]},
        ],
    }
    target = tmp_path / "t.json.gz"
    with gzip.open(target, "wt") as stream:
        json.dump(data, stream)
    (read,) = read_coco(target)
    assert read.labelled == FACE
    assert read.labels == (
        Label("face", 1, 2, 3, 4),
        Label("plate", 5, 6, 7, 8, Origin.TEACHER, ignore=True, score=0.5),
    )


def test_coco_survives_writing_and_reading(tmp_path: Path) -> None:
    labels = (Label("head", 1, 2, 3, 4), Label("face", 5, 6, 7, 8, Origin.TEACHER, ignore=True, score=0.25))
    before = Picture(tmp_path / "images" / "a.png", 100, 50, "metro", frozenset({"head"}), labels)
    write_coco([before], tmp_path / "t.json.gz", tmp_path)
    assert read_coco(tmp_path / "t.json.gz") == [before]


def test_voc_counts_pixels_from_one_and_ignores_the_difficult(tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>10</xmax><ymax>30</ymax></bndbox>"
    (tmp_path / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>100</width><height>50</height></size>"
        f"<object><name>licence</name>{box}</object>"
        f"<object><name>licence</name><difficult>1</difficult>{box}</object>"
        f"<object><name>dog</name>{box}</object></annotation>"
    )
    (read,) = read_voc(tmp_path, tmp_path, {"licence": "plate"}, "s", frozenset({"plate"}))
    assert (read.path, read.width, read.height) == (tmp_path / "a.png", 100, 50)
    assert read.labels == (Label("plate", 0, 10, 10, 20), Label("plate", 0, 10, 10, 20, ignore=True))


def test_voc_without_a_size_says_which_file(tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_text("<annotation><filename>a.png</filename></annotation>")
    with pytest.raises(ValueError, match=r"bad\.xml: no <size/width>"):
        read_voc(tmp_path, tmp_path, {}, "s", FACE)


def test_yolo_shares_become_pixels_and_a_missing_file_an_empty_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.1 0.1\n")
    a, b = read_yolo(tmp_path / "images", tmp_path / "labels", [None, "face"], "s", FACE)
    assert a.labels == (Label("face", 40.0, 15.0, 20.0, 20.0),)
    assert b.labels == ()


def test_yolo_with_an_unknown_class_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("3 0.5 0.5 0.2 0.4\n")
    with pytest.raises(ValueError, match="class 3"):
        read_yolo(tmp_path, tmp_path, ["face"], "s", FACE)


def test_wider_reads_invalid_faces_as_ignored_and_empty_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "0--Parade" / "a.png")
    picture(tmp_path / "0--Parade" / "b.png")
    text = tmp_path / "gt.txt"
    text.write_text(
        "0--Parade/a.png\n2\n1 2 3 4 0 0 0 0 0 0\n5 6 7 8 0 0 0 1 0 0\n"
        "0--Parade/b.png\n0\n0 0 0 0 0 0 0 0 0 0\n"
    )
    a, b = read_wider(text, tmp_path)
    assert a.labels == (Label("face", 1, 2, 3, 4), Label("face", 5, 6, 7, 8, ignore=True))
    assert b.labels == ()


def test_ccpd_reads_the_box_from_the_name(tmp_path: Path) -> None:
    name = "025-95_113-154&383_386&473-386&473_177&454_154&383_363&402-0_0_22_27_27_33_16-37-15.jpg"
    picture(tmp_path / name, 720, 1160)
    (read,) = read_ccpd(tmp_path)
    assert read.labels == (Label("plate", 154, 383, 232, 90),)
    assert read.labelled == frozenset({"plate"})


def test_the_validation_split_is_a_fixed_tenth_of_peoples_sets() -> None:
    def named(i: int, source: str) -> Picture:
        return Picture(Path(f"{i:05d}.avif"), 10, 10, source, FACE)

    share = sum(held_out(named(i, "maskstreet")) for i in range(2000)) / 2000
    assert 0.08 < share < 0.12
    assert not any(held_out(named(i, "crowd")) for i in range(500))
