"""Called again with other data, nothing is paired with pictures or labels that it was not made from."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from veil_models import __main__ as commands
from veil_models import mine as mining
from veil_models.boxes import Array
from veil_models.dataset import Dataset, Label, Origin, Picture
from veil_models.errors import ModelsError
from veil_models.fuse import Fusion, load_answers, relabel_all
from veil_models.label import label
from veil_models.made import made_from, put
from veil_models.pack import Pixels
from veil_models.readers.coco_out import write_coco
from veil_models.work import Work

BUNDLE = Path(__file__).parents[2] / "models" / "bundles" / "veil-s"


class _Bright:
    """Sees a face where its picture is bright, as a teacher; counts how often it was asked."""

    name = "bright"

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, rgb: Pixels, floor: float) -> Array:
        del floor
        self.asked += 1
        ys, xs = np.nonzero(rgb.max(2) > 128)
        box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0.9]
        return np.array([box], np.float32)


def _written(folder: Path, names: Sequence[str], *labels: Label) -> Dataset:
    """A data folder of black pictures, each with a bright square at a place of its own, told by its name."""
    pictures = []
    for name in names:
        path = folder / "images" / name
        rgb = np.zeros((96, 128, 3), np.uint8)
        x = 4 * (ord(name[0]) - ord("a"))
        rgb[20:52, x : x + 32] = 255
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), rgb)
        pictures.append(Picture(path, 128, 96, "yours", frozenset({"plate"}), labels))
    write_coco(pictures, folder / "train.json.gz", folder)
    return pictures


def _asked(work: Work) -> int:
    """Lets `label` run; returns how often teachers were asked."""
    teacher = _Bright()
    pictures, pack = work.pack("train")
    label(pictures, pack, work.data, work.answers, {"yunet": teacher, "centerface": teacher}, chunk=2)
    return teacher.asked


def _fused(work: Work) -> dict[str, list[int]]:
    """Left edges of all faces that the answers make, by the picture's name."""
    pictures = work.pictures("train")
    fused = relabel_all(pictures, load_answers(work.answers, pictures, work.data), Fusion())
    return {p.path.name: [round(b.x) for b in p.labels if b.category == "face"] for p in fused}


def test_new_pictures_are_asked_about_and_old_answers_stay_with_theirs(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path / "work")
    _written(tmp_path, ["c.png", "d.png", "e.png"])
    per_picture = _asked(work) // 3
    assert per_picture > 0
    assert _asked(work) == 0
    _written(tmp_path, ["a.png", "c.png", "d.png", "b.png", "e.png"])
    assert _asked(work) == 2 * per_picture
    assert _fused(work) == {"a.png": [0], "c.png": [8], "d.png": [12], "b.png": [4], "e.png": [16]}


def test_a_picture_that_was_exchanged_is_asked_about_again(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path / "work")
    _written(tmp_path, ["c.png", "d.png"])
    _asked(work)
    rgb = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "c.png"), rgb)
    pictures = work.pictures("train")
    assert load_answers(work.answers, pictures, work.data).keys() == {1}


def test_answers_that_do_not_name_their_pictures_are_refused(tmp_path: Path) -> None:
    pictures = _written(tmp_path, ["c.png"])
    answers = tmp_path / "answers"
    answers.mkdir()
    with pytest.raises(ModelsError, match="run label first"):
        load_answers(answers, pictures, tmp_path)
    np.savez(answers / "00000.npz", rows=np.zeros((0, 7), np.float32), indices=np.arange(1))
    with pytest.raises(ModelsError, match="earlier version"):
        load_answers(answers, pictures, tmp_path)


def _mined(work: Work) -> None:
    pictures = work.pictures("train")
    work.write_labels(pictures, work.mined, {"data": work.digest(pictures)})


@pytest.mark.parametrize("change", ["order", "size", "labels", "labelled", "source", "file"])
def test_training_refuses_labels_made_from_other_annotations(tmp_path: Path, change: str) -> None:
    work = Work(tmp_path, tmp_path / "work")
    pictures = list(_written(tmp_path, ["c.png", "d.png"], Label("plate", 1, 2, 20, 10)))
    _mined(work)
    assert len(work.labels(work.mined, work.pictures("train"))) == 2
    first = pictures[0]
    match change:
        case "order":
            pictures.reverse()
        case "size":
            pictures[0] = replace(first, width=64)
        case "labels":
            pictures[0] = replace(first, labels=(replace(first.labels[0], ignore=True),))
        case "labelled":
            pictures[0] = replace(first, labelled=frozenset())
        case "source":
            pictures[0] = replace(first, source="others")
        case _:
            first.path.write_bytes(first.path.read_bytes() + b"0")
    write_coco(pictures, tmp_path / "train.json.gz", tmp_path)
    with pytest.raises(ModelsError, match="run mine again"):
        work.labels(work.mined, work.pictures("train"))


def test_labels_of_an_earlier_version_are_taken_where_names_and_sizes_agree(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path / "work")
    _written(tmp_path, ["c.png", "d.png"])
    work.folder.mkdir()
    shutil.copy(tmp_path / "train.json.gz", work.mined)
    _written(tmp_path, ["c.png", "d.png"], Label("plate", 1, 2, 20, 10))  # it cannot tell
    assert len(work.training()[0]) == 2
    _written(tmp_path, ["d.png", "c.png"])
    with pytest.raises(ModelsError, match="run mine again"):
        work.training()


def test_labels_cut_short_by_a_kill_are_named(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path / "work")
    pictures = _written(tmp_path, ["c.png", "d.png"])
    work.folder.mkdir()
    for kept in (0.5, 0.9):
        whole_file = (tmp_path / "train.json.gz").read_bytes()
        work.mined.write_bytes(whole_file[: int(kept * len(whole_file))])
        with pytest.raises(ModelsError, match="is damaged: delete it"):
            work.labels(work.mined, pictures)


def test_what_is_written_is_whole_or_the_old_one_without_a_record(tmp_path: Path) -> None:
    work = Work(tmp_path, tmp_path / "work")
    _written(tmp_path, ["c.png"])
    _mined(work)
    before = work.mined.read_bytes()
    assert made_from(work.mined) is not None

    def killed(part: Path) -> None:
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(work.mined, {"data": "x"}, killed)
    assert work.mined.read_bytes() == before
    assert made_from(work.mined) is None


def _call(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["veil_models", *words])
    commands.main()


def test_mining_again_is_done_only_where_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def mined(work: Work, bundle: Path, faces: Fusion | None) -> list[Picture]:
        done.append((bundle, faces))
        return list(work.pictures("train"))

    monkeypatch.setattr(mining, "mine", mined)
    work = Work(tmp_path, tmp_path / "work")
    _written(tmp_path, ["c.png"])
    other = Path(shutil.copytree(BUNDLE, tmp_path / "other"))
    (other / "model.onnx").write_bytes(b"another net")
    call = ["mine", "--data", str(tmp_path), "--work", str(work.folder), "--faces", "--bundle"]
    _call(monkeypatch, *call, str(BUNDLE))
    _call(monkeypatch, *call, str(BUNDLE))
    assert len(done) == 1
    _call(monkeypatch, *call, str(other))
    assert len(done) == 2
    _written(tmp_path, ["c.png"], Label("face", 1, 2, 20, 10, Origin.TEACHER))
    _call(monkeypatch, *call, str(other))
    assert len(done) == 3
    work.mined.with_name("train.mined.json.gz.from").unlink()  # as earlier versions left it
    _call(monkeypatch, *call, str(other))
    assert len(done) == 4


def test_a_users_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _written(tmp_path, ["c.png"])
    work = ["--data", str(tmp_path), "--work", str(tmp_path / "work")]
    mistakes = {
        ("label", *work, "--yunet", str(tmp_path / "none.onnx")): "MODELS_LABELS=own",
        ("mine", *work, "--bundle", str(BUNDLE)): "run label and fuse first",
        ("mine", *work, "--faces", "--bundle", str(tmp_path)): "model.onnx is not there",
        ("fuse", *work): "run label first",
    }
    for call, said in mistakes.items():
        with pytest.raises(SystemExit) as ended:
            _call(monkeypatch, *call)
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert said in err
        assert err.count(os.linesep) == 1
