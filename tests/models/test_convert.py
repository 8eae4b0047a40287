"""Own pictures become a data folder with one command for each set, and a mistake ends in one message."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from veil_models.__main__ import main
from veil_models.dataset import Label
from veil_models.readers.coco import read_coco
from veil_models.work import Work

Run = Callable[[str], int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in the test's folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> int:
        monkeypatch.setattr(sys, "argv", ["veil_models", *line.split()])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


def picture(path: Path, width: int = 100, height: int = 50) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)
    return path


def yolo(folder: Path, count: int = 1, row: str = "0 0.5 0.5 0.2 0.4") -> None:
    """`count` pictures in images/, a box for each in labels/."""
    (folder / "labels").mkdir(parents=True)
    for i in range(count):
        picture(folder / "images" / f"{i:03d}.png")
        (folder / "labels" / f"{i:03d}.txt").write_text(row)


FOLDERS = "--images cam/images --annotations cam/labels"
YOLO = f"convert --format yolo {FOLDERS} --names 0=plate 1=none --labelled plate"


def test_yolo_is_converted_packed_and_counted(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yolo(tmp_path / "cam", 40)
    assert run(f"{YOLO} --source gate --out data/train.json.gz --val 0.25") == 0
    train, val = (read_coco(tmp_path / "data" / f"{part}.json.gz") for part in ("train", "val"))
    assert len(train) + len(val) == 40
    assert 2 < len(val) < 20
    assert not {p.path.name for p in train} & {p.path.name for p in val}
    assert {p.source for p in (*train, *val)} == {"gate"}
    assert train[0].labels == (Label("plate", 40, 15, 20, 20),)
    capsys.readouterr()
    assert run("pack --data data --work work") == 0
    said = capsys.readouterr().out
    assert (
        f"train: {len(train)} pictures\n  gate: {len(train)} pictures; plate {len(train)}, labelled\n" in said
    )
    assert f"val: {len(val)} pictures" in said
    pictures, pack = Work(tmp_path / "data", tmp_path / "work").training()
    assert len(pictures) == len(pack.shape) == len(train)


def test_sets_in_several_places_are_merged_and_none_twice(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yolo(tmp_path / "cam")
    box = "<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>10</xmax><ymax>30</ymax></bndbox>"
    picture(tmp_path / "voc" / "b.png")
    (tmp_path / "voc" / "b.xml").write_text(
        "<annotation><filename>b.png</filename><size><width>100</width><height>50</height></size>"
        f"<object><name>number plate</name>{box}</object></annotation>"
    )
    assert run(f"{YOLO} --out data/train.json.gz") == 0
    assert run(f"{YOLO} --out data/train.json.gz") == 2
    assert "--add" in capsys.readouterr().err
    assert run(f"{YOLO} --out data/train.json.gz --add") == 2
    assert "is in data/train.json.gz already" in capsys.readouterr().err
    assert run(f"{YOLO} --out data/val.json.gz") == 2
    assert "is in data/train.json.gz already" in capsys.readouterr().err
    voc = (
        "convert --format voc --images voc --annotations voc --labelled plate --out data/train.json.gz --add"
    )
    assert run(f"{voc} --names number=plate") == 2
    assert "'number plate'" in capsys.readouterr().err
    (tmp_path / "voc" / "b.xml").write_text((tmp_path / "voc" / "b.xml").read_text().replace("number ", ""))
    assert run(f"{voc} --names plate=plate") == 0
    read = read_coco(tmp_path / "data" / "train.json.gz")
    assert [(p.source, len(p.labels), p.path.exists()) for p in read] == [("yolo", 1, True), ("voc", 1, True)]


def test_coco_gets_our_names_and_says_what_people_marked(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "theirs" / "a.png", 2560, 1000)
    data = {
        "categories": [{"id": 1, "name": "license_plate"}, {"id": 2, "name": "person"}],
        "images": [{"id": 1, "file_name": "a.png", "width": 2560, "height": 1000}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [100, 200, 40, 20]}],
    }
    (tmp_path / "theirs" / "x.json").write_text(json.dumps(data))
    names = "--names license_plate=plate person=none"
    line = f"convert --format coco --annotations theirs/x.json {names} --out data/train.json.gz"
    assert run(f"{line} --labelled") == 0
    (read,) = read_coco(tmp_path / "data" / "train.json.gz", longest=None)
    # written down in pixels of the file; scaled when it is read
    assert (read.source, read.labelled, read.labels) == (
        "x",
        frozenset(),
        (Label("plate", 100, 200, 40, 20),),
    )


def test_wider_and_ccpd_need_no_names(run: Run, tmp_path: Path) -> None:
    picture(tmp_path / "w" / "a.png")
    (tmp_path / "gt.txt").write_text("a.png\n1\n1 2 3 4 0 0 0 0 0 0\n")
    assert run("convert --format wider --images w --annotations gt.txt --out data/train.json.gz") == 0
    picture(tmp_path / "c" / "ccpd_np" / "1.png")
    assert run("convert --format ccpd --images c --out data/train.json.gz --add") == 0
    read = read_coco(tmp_path / "data" / "train.json.gz")
    assert [(p.source, *p.labelled) for p in read] == [("wider", "face"), ("ccpd", "plate")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (YOLO.replace("0=plate", "0=licence"), "--names '0=licence' is not THEIRS=OURS"),
        (YOLO.replace("0=plate", "0=plate 0=none"), "--names maps '0' twice"),
        (YOLO.replace("0=plate", "plate=plate"), "YOLO's classes are numbers"),
        (YOLO.replace(" --names 0=plate 1=none", ""), "needs --names"),
        (YOLO.replace(" --labelled plate", ""), "needs --labelled"),
        (YOLO.replace("cam/labels", "cam/lables"), "no picture has labels there"),
        (f"{YOLO} --val 1.5", "--val 1.5 is no share"),
        (f"{YOLO} --out data/train.json", "has to end in .json.gz"),
        (f"{YOLO} --out data/val.json.gz --val 0.1", "--out has to be another file"),
        ("convert --format ccpd --images cam/images --labelled plate", "alone"),
        ("convert --format coco --annotations no.json", "no.json: there is no such file"),
    ],
)
def test_a_mistake_is_one_message_and_nothing_is_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    yolo(tmp_path / "cam")
    assert run(line if "--out" in line else f"{line} --out data/train.json.gz") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err
    assert not (tmp_path / "data").exists()


def test_annotations_of_other_pictures_are_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "a.png", 90, 50)
    images = [
        {"id": i, "file_name": f"{name}.png", "width": 100, "height": 50} for i, name in enumerate("ab")
    ]
    data = {"categories": [{"id": 1, "name": "face"}], "images": images, "annotations": []}
    (tmp_path / "x.json").write_text(json.dumps(data))
    assert run("convert --format coco --annotations x.json --out train.json.gz") == 2
    err = capsys.readouterr().err
    assert "a.png: is 90x50, its annotations say 100x50" in err
    assert "b.png: there is no such picture" in err


def test_pack_without_pictures_to_measure_by_says_so(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yolo(tmp_path / "cam", 2)
    assert run("pack --data data --work work") == 2
    assert "train.json.gz: there is no such file" in capsys.readouterr().err
    assert run(f"{YOLO} --out data/train.json.gz") == 0
    assert run("pack --data data --work work") == 0
    assert "val: there is no val.json.gz" in capsys.readouterr().out
    empty = {"categories": [], "images": [], "annotations": []}
    (tmp_path / "empty").mkdir()
    assert run(f"{YOLO} --out empty/train.json.gz") == 0
    (tmp_path / "empty" / "val.json.gz").write_bytes(gzip.compress(json.dumps(empty).encode()))
    assert run("pack --data empty --work other") == 0
    assert "val: no class is `labelled`" in capsys.readouterr().out
    (tmp_path / "empty" / "train.json.gz").write_bytes(gzip.compress(json.dumps(empty).encode()))
    assert run("pack --data empty --work third") == 2
    assert "names no picture to train on" in capsys.readouterr().err
