"""Every format becomes the same pictures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from veil_models.dataset import LONGEST, Label, Origin, Picture, held_out, size_within, within
from veil_models.errors import ModelsError
from veil_models.readers.ccpd import read_ccpd
from veil_models.readers.coco import read_coco
from veil_models.readers.coco_out import write_coco
from veil_models.readers.voc import read_voc
from veil_models.readers.wider import read_wider
from veil_models.readers.yolo import _label as yolo_label
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


def coco(folder: Path, name: str = "t.json", **changed: object) -> Path:
    """A file of one picture with one plate; `changed`: keys of the image, the annotation or the whole."""
    image = {"id": 5, "file_name": "a.png", "width": 100, "height": 50}
    annotation = {"id": 7, "image_id": 5, "category_id": 2, "bbox": [1, 2, 30, 10]}
    data: dict[str, object] = {
        "categories": [{"id": 1, "name": "face"}, {"id": 2, "name": "plate"}, {"id": 9, "name": "dog"}],
        "images": [image],
        "annotations": [annotation],
    }
    for key, value in changed.items():
        holder = data if key in data else image if key in (*image, "labelled", "source") else annotation
        holder[key] = value
    target = folder / name
    target.write_text(json.dumps(data))
    return target


def test_coco_without_sources_is_called_as_its_file(tmp_path: Path) -> None:
    assert read_coco(coco(tmp_path, "street.json"))[0].source == "street"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"categories": [{"id": 2, "name": "license_plate"}]}, r"none of its categories \('license_plate'\)"),
        ({"labelled": ["plate"]}, r"'a\.png': labelled: 'plate' is no id of a category; they are 1, 2, 9"),
        ({"labelled": 2}, r"'a\.png'"),
        ({"image_id": 6}, r"annotation 7: image_id 6 is not in images"),
        ({"category_id": 3}, r"annotation 7: category_id 3 is not in categories"),
        ({"bbox": [1, 2, float("nan"), 4]}, r"annotation 7: .* is not finite"),
        ({"bbox": [1, 2, 3]}, r"annotation 7"),
        ({"bbox": [101, 2, 30, 10]}, r"annotation 7: .*lies outside of its 100x50 picture"),
        ({"origin": "robot"}, r"annotation 7: .*robot"),
        ({"width": 0}, r"'a\.png': its size is 0x50"),
        ({"images": [{"id": 5, "width": 1, "height": 1}]}, r"image 5: lacks 'file_name'"),
        ({"images": "a.png"}, r"is no COCO file"),
    ],
)
def test_coco_with_a_mistake_names_file_and_entry(
    tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(ModelsError, match=rf"t\.json: .*{said}"):
        read_coco(coco(tmp_path, **changed))


def test_coco_cut_off_while_it_was_written_says_so(tmp_path: Path) -> None:
    whole = gzip.compress(coco(tmp_path).read_bytes())
    (tmp_path / "t.json.gz").write_bytes(whole[:-20])
    with pytest.raises(ModelsError, match=r"t\.json\.gz is damaged"):
        read_coco(tmp_path / "t.json.gz")
    with pytest.raises(ModelsError, match=r"val\.json\.gz: there is no such file"):
        read_coco(tmp_path / "val.json.gz")


def test_coco_under_other_names_is_mapped_and_no_name_is_forgotten(tmp_path: Path) -> None:
    data = coco(tmp_path, categories=[{"id": 1, "name": "person"}, {"id": 2, "name": "license_plate"}])
    (read,) = read_coco(data, names={"license_plate": "plate", "person": None})
    assert (read.labelled, read.labels) == (frozenset({"plate"}), (Label("plate", 1, 2, 30, 10),))
    with pytest.raises(ModelsError, match="no name maps: 'person'"):
        read_coco(data, names={"license_plate": "plate"})


def test_a_teachers_box_beside_the_picture_is_no_mistake(tmp_path: Path) -> None:
    (read,) = read_coco(coco(tmp_path, bbox=[101, 2, 30, 10], origin="teacher"))
    assert len(read.labels) == 1


def test_pictures_elsewhere_can_be_written_down_again(tmp_path: Path) -> None:
    elsewhere = picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "real" / "deeper").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "real" / "deeper")
    coco(tmp_path / "data", file_name=str(elsewhere))
    (read,) = read_coco(tmp_path / "data" / "t.json")
    assert read.path.samefile(elsewhere)
    write_coco([read], tmp_path / "data" / "again.json.gz", tmp_path / "data")
    assert read_coco(tmp_path / "data" / "again.json.gz")[0].path == read.path


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(tmp_path: Path) -> None:
    target, before = tmp_path / "t.json.gz", Picture(tmp_path / "a.png", 100, 50, "s", FACE)
    write_coco([before], target, tmp_path)
    with pytest.raises(KeyError):
        write_coco([before, Picture(tmp_path / "b.png", 9, 9, "s", frozenset({"dog"}))], target, tmp_path)
    assert read_coco(target) == [before]


sizes = st.integers(1, 9000)


@given(sizes, sizes)
def test_scaling_keeps_the_shape_and_happens_once(width: int, height: int) -> None:
    scaled = size_within(width, height, LONGEST)
    assert max(scaled) == min(LONGEST, max(width, height))
    assert size_within(*scaled, LONGEST) == scaled
    scale = max(scaled) / max(width, height)
    assert abs(scaled[0] - width * scale) <= 1
    assert abs(scaled[1] - height * scale) <= 1


@given(sizes, sizes, st.tuples(*[st.floats(0, 1)] * 4))
def test_labels_are_scaled_with_their_picture(w: int, h: int, share: tuple[float, ...]) -> None:
    label = Label("face", share[0] * w, share[1] * h, share[2] * w, share[3] * h, ignore=True, score=0.5)
    before = Picture(Path("a.png"), w, h, "s", FACE, (label,), frozenset({"plate"}))
    after = within(before, LONGEST)
    (moved,) = after.labels
    now = (moved.x / after.width, moved.y / after.height, moved.w / after.width, moved.h / after.height)
    assert now == pytest.approx(share)
    assert (moved.category, moved.ignore, moved.score) == ("face", True, 0.5)
    assert (after.path, after.source, after.labelled, after.searched) == (
        *(before.path, before.source),
        *(before.labelled, before.searched),
    )
    if max(w, h) <= LONGEST:
        assert after is before


def test_coco_of_large_pictures_comes_as_the_pack_keeps_them(tmp_path: Path) -> None:
    data = coco(tmp_path, width=2560, height=1000, bbox=[100, 200, 40, 20])
    (read,) = read_coco(data)
    assert (read.width, read.height, read.labels) == (1280, 500, (Label("plate", 50, 100, 20, 10),))
    (whole,) = read_coco(data, longest=None)
    assert (whole.width, whole.labels[0].x) == (2560, 100)


def test_coco_survives_writing_and_reading(tmp_path: Path) -> None:
    labels = (Label("head", 1, 2, 3, 4), Label("face", 5, 6, 7, 8, Origin.TEACHER, ignore=True, score=0.25))
    before = Picture(tmp_path / "images" / "a.png", 100, 50, "metro", frozenset({"head"}), labels)
    write_coco([before], tmp_path / "t.json.gz", tmp_path)
    assert read_coco(tmp_path / "t.json.gz") == [before]


BOX = "<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>10</xmax><ymax>30</ymax></bndbox>"


def voc(folder: Path, objects: str, size: str = "<width>100</width><height>50.0</height>") -> Path:
    (folder / "a.xml").write_text(
        f"<annotation><filename>a.png</filename><size>{size}</size>{objects}</annotation>"
    )
    return folder


def test_voc_counts_pixels_from_one_and_ignores_the_difficult(tmp_path: Path) -> None:
    objects = (
        f"<object><name>licence</name>{BOX}</object>"
        f"<object><name>licence</name><difficult>1</difficult>{BOX}</object>"
        f"<object><name>dog</name>{BOX}</object>"
    )
    names = {"licence": "plate", "dog": None}
    (read,) = read_voc(voc(tmp_path, objects), tmp_path, names, "s", frozenset({"plate"}))
    assert (read.path, read.width, read.height) == (tmp_path / "a.png", 100, 50)
    assert read.labels == (Label("plate", 0, 10, 10, 20), Label("plate", 0, 10, 10, 20, ignore=True))


def test_voc_without_a_size_takes_the_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 120, 60)
    voc(tmp_path, "", "<width>0</width><height>0</height>")
    (read,) = read_voc(tmp_path, tmp_path, {}, "s", FACE)
    assert (read.width, read.height) == (120, 60)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (f"<object><name>licenze</name>{BOX}</object>", "no name maps: 'licenze'"),
        ("<object><name>licence</name></object>", r"a\.xml: no <bndbox/xmin>"),
        (
            f"<object><name>licence</name>{BOX.replace('>1<', '>20<')}</object>",
            r"a\.xml: the box 20, 11 to 10, 30 has no area",
        ),
        (f"<object><name>licence</name>{BOX.replace('11', 'x')}</object>", r"a\.xml: <bndbox/ymin>: 'x'"),
        (
            f"<object><name>licence</name>{BOX.replace('11', '71').replace('30', '90')}</object>",
            r"a\.xml: the box .* outside",
        ),
        ("<object>", r"a\.xml: cannot be read as XML"),
    ],
)
def test_voc_with_a_mistake_says_which_file(tmp_path: Path, objects: str, said: str) -> None:
    with pytest.raises(ModelsError, match=said):
        read_voc(voc(tmp_path, objects), tmp_path, {"licence": "plate"}, "s", frozenset({"plate"}))


def test_voc_without_a_size_or_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match=r"no \.xml is below"):
        read_voc(tmp_path, tmp_path, {}, "s", FACE)
    (tmp_path / "bad.xml").write_text("<annotation><filename>a.png</filename></annotation>")
    with pytest.raises(ModelsError, match=r"bad\.xml: no <size/width>"):
        read_voc(tmp_path, tmp_path, {}, "s", FACE)


def test_yolo_shares_become_pixels_and_a_missing_file_an_empty_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "images" / "b.TIF")
    (tmp_path / "labels").mkdir()
    text = "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.1 0.1\n1.0 0.5 0.5 0 0.4\n"
    (tmp_path / "labels" / "a.txt").write_text(text, encoding="utf-8-sig")
    a, b = read_yolo(tmp_path / "images", tmp_path / "labels", {0: None, 1: "face"}, "s", FACE)
    assert a.labels == (Label("face", 40.0, 15.0, 20.0, 20.0),)
    assert (b.path.name, b.labels) == ("b.TIF", ())


@given(st.integers(1, 5000), st.integers(1, 5000), st.data())
def test_yolo_boxes_are_where_they_were_drawn(width: int, height: int, data: st.DataObject) -> None:
    x1, x2 = sorted(data.draw(st.tuples(*[st.floats(0, width)] * 2)))
    y1, y2 = sorted(data.draw(st.tuples(*[st.floats(0, height)] * 2)))
    shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    label = yolo_label(["0", *map(repr, shares)], width, height, {0: "plate"}, "a.txt:1")
    assert label is not None
    assert (label.x, label.y) == pytest.approx((x1, y1), abs=1e-6)
    assert (label.x + label.w, label.y + label.h) == pytest.approx((x2, y2), abs=1e-6)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("3 0.5 0.5 0.2 0.4", "class 3 has no name"),
        ("0.5 0.5 0.5 0.2 0.4", "class 0.5 has no name"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9", "7 fields"),
        ("0 0.5 0.5 0.2 0.4 0.9", "6 fields"),
        ("0 400 300 20 10", "no shares of the picture"),
        ("0 0.5 -0.5 0.2 0.4", "no shares of the picture"),
        ("0 nan 0.5 0.2 0.4", "'nan' is not a number"),
        ("face 0.5 0.5 0.2 0.4", "'face' is not a number"),
    ],
)
def test_yolo_with_a_line_that_is_no_box_names_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.2 0.4\n{row}\n")
    with pytest.raises(ModelsError, match=rf"a\.txt:2: .*{said}"):
        read_yolo(tmp_path, tmp_path, {0: "face"}, "s", FACE)


def test_yolo_labels_that_are_not_found_are_no_empty_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    for folder in ("labels", "images"):
        with pytest.raises(
            ModelsError, match=r"no picture has labels there; those of .*a\.png would be .*a\.txt"
        ):
            read_yolo(tmp_path / "images", tmp_path / folder, {0: "face"}, "s", FACE)
    with pytest.raises(ModelsError, match="no pictures are below it"):
        read_yolo(tmp_path / "imagse", tmp_path / "labels", {0: "face"}, "s", FACE)


WIDER = (
    "0--Parade/a.png\n2\n1 2 3 4 0 0 0 0 0 0\n5 6 7 8 0 0 0 1 0 0\n"
    "0--Parade/b.png\n0\n0 0 0 0 0 0 0 0 0 0\n"
    "0--Parade/c.png\n1\n1 2 3 4 0 0 0 0 0 0\n"
)


def wider(folder: Path, text: str) -> list[Picture]:
    for name in "abc":
        picture(folder / "0--Parade" / f"{name}.png")
    (folder / "gt.txt").write_text(text)
    return read_wider(folder / "gt.txt", folder)


@pytest.mark.parametrize("text", [WIDER, WIDER.replace("0 0 0 0 0 0 0 0 0 0\n", "", 1)])
def test_wider_reads_invalid_faces_as_ignored_and_empty_pictures(tmp_path: Path, text: str) -> None:
    a, b, c = wider(tmp_path, text)
    assert a.labels == (Label("face", 1, 2, 3, 4), Label("face", 5, 6, 7, 8, ignore=True))
    assert b.labels == ()
    assert c.labels == (Label("face", 1, 2, 3, 4),)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a.png\n2", "a.png\n3", r"gt\.txt:5: no box"),
        ("a.png\n2", "a.png\n1", r"gt\.txt:4: '5 6 7 8 0 0 0 1 0 0' is not followed by its count"),
        ("1 2 3 4", "1 2 x 4", r"gt\.txt:3: 'x' is not a number"),
        ("5 6 7 8", "500 6 7 8", r"gt\.txt:4: .*outside"),
        ("a.png", "d.png", r"d\.png: there is no such picture"),
    ],
)
def test_wider_with_a_mistake_names_file_and_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ModelsError, match=said):
        wider(tmp_path, WIDER.replace(old, new, 1))


PLATE = "025-95_113-154&383_386&473-386&473_177&454_154&383_363&402-0_0_22_27_27_33_16-37-15.jpg"


def test_ccpd_reads_the_box_from_the_name(tmp_path: Path) -> None:
    picture(tmp_path / PLATE.replace("jpg", "JPG"), 720, 1160)
    picture(tmp_path / "CCPD_NP" / "1.png", 720, 1160)
    read, none = read_ccpd(tmp_path)
    assert read.labels == (Label("plate", 154, 383, 232, 90),)
    assert (none.labels, none.labelled) == ((), frozenset({"plate"}))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("IMG_0001.jpg", "has no box in its name"),
        (PLATE.replace("386&473-", "154&473-", 1), "has no area"),
        (PLATE.replace("154&383_386&473-", "854&383_986&473-", 1), "outside"),
    ],
)
def test_ccpd_with_a_name_that_is_no_box_says_which(tmp_path: Path, name: str, said: str) -> None:
    path = picture(tmp_path / name, 720, 1160)
    with pytest.raises(ModelsError, match=f"{path.name}.*{said}"):
        read_ccpd(tmp_path)


def test_the_validation_split_is_a_fixed_tenth_of_peoples_sets() -> None:
    def named(i: int, source: str) -> Picture:
        return Picture(Path(f"{i:05d}.avif"), 10, 10, source, FACE)

    share = sum(held_out(named(i, "maskstreet")) for i in range(2000)) / 2000
    assert 0.08 < share < 0.12
    assert not any(held_out(named(i, "crowd")) for i in range(500))
