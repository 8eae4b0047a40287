"""Imports: a bundle that has been tried, or a reason and nothing on disk."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from PIL import Image

from models_import.exports import EXPORTS, Export, Follow, Scrfd, Yolov8, model_giving, scrfd_of_any_size
from veil.cli_detect import detect_folder
from veil.config import DetectorConfig
from veil.detect.bundle import load_bundle
from veil.detect.detector import open_detector
from veil.detect.selftest import run_selftest
from veil.errors import BundleError, RuntimeMissingError, UsageError, VeilError
from veil.frames.picture import ColorInfo
from veil.frames.still import i420
from veil_import.__main__ import main, parse
from veil_import.importer import Imported, import_model
from veil_import.kinds import Kind

SIZE = (640, 640)
FACE_IN_INPUT = (220.0, 100.0, 335.0, 240.0)
"""The astronaut's face where its 512 pixels fill 640."""
KINDS = sorted(EXPORTS)
RGB = (200, 100, 50)

_FIRST_CHANNEL = {  # what one step of the kind's input is, and where zero is, in shares of 255
    "scrfd": (128 / 255, 127.5 / 255, 200),
    "retinaface": (1 / 255, 104 / 255, 50),
    "yolov5_face": (1.0, 0.0, 200),
    "yolov8": (1.0, 0.0, 200),
}


def _cli_kind(kind: str) -> str:
    return kind.removesuffix("_raw")


def _export(kind: str) -> Export:
    export = EXPORTS[kind](*SIZE)
    export.put(FACE_IN_INPUT, 0.9)
    return export


def _import(folder: Path, model: bytes, kind: str, *options: str, classes: str = "face") -> Imported:
    path = folder / "own.onnx"
    path.write_bytes(model)
    arguments = [str(path), "--kind", kind, "--name", "own", "--classes", classes]
    return import_model(parse([*arguments, "--out", str(folder / "bundle"), *options]))


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_becomes_a_bundle_that_passes_its_self_test(tmp_path: Path, kind: str) -> None:
    model = model_giving(SIZE, _export(kind).arrays)
    imported = _import(tmp_path, model, _cli_kind(kind), "--license", "CC-BY-4.0")
    assert imported.layout.kind == kind
    assert imported.selftest is not None
    assert (imported.selftest.found, imported.selftest.expected) == (1, 1)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.identity == imported.identity == "own@1.0.0"
    assert bundle.manifest.license == "CC-BY-4.0"
    assert bundle.read("model.onnx") == model
    card = bundle.read("card.md").decode()
    assert "CC-BY-4.0" in card
    assert hashlib.sha256(model).hexdigest() in card
    with open_detector(bundle, DetectorConfig()) as detector:
        assert run_selftest(detector).recall == 1
    assert _left(tmp_path) == ["bundle", "own.onnx"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoded_box_is_the_encoded_one_to_the_pixel(tmp_path: Path, kind: str) -> None:
    _import(tmp_path, model_giving(SIZE, _export(kind).arrays), _cli_kind(kind))
    with open_detector(load_bundle(tmp_path / "bundle"), DetectorConfig(tiles_per_frame=0)) as detector:
        found = detector.detect_planes(i420(np.zeros((640, 640, 3), np.uint8)), *SIZE, ColorInfo())
    assert len(found) == 1
    box = found[0].box
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx(FACE_IN_INPUT, abs=0.05)
    assert found[0].score == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("kind", sorted(_FIRST_CHANNEL))
def test_pictures_reach_the_model_as_its_authors_feed_it(tmp_path: Path, kind: str) -> None:
    """The score is the input's first channel, brought back to shares of 255 as that kind is normalised."""
    export = EXPORTS[kind](*SIZE)
    put = export.put(FACE_IN_INPUT, 0.9)
    gain, offset, expected = _FIRST_CHANNEL[kind]
    follows = [Follow(put.at, gain, offset)]
    if kind == "retinaface":  # the two probabilities add up to one
        name, (batch, row, _) = put.at
        follows.append(Follow((name, (batch, row, 0)), -gain, 1 - offset))
    _import(tmp_path, model_giving(SIZE, export.arrays, follows=follows), kind, "--golden", "none")
    picture = np.full((640, 640, 3), RGB, np.uint8)
    config = DetectorConfig.model_validate({"thresholds": {"face": {"low": 0.05}}})
    with open_detector(load_bundle(tmp_path / "bundle"), config) as detector:
        found = detector.detect_planes(i420(picture), *SIZE, ColorInfo())
    assert found[0].score == pytest.approx(expected / 255, abs=0.015)


def _spot(rgb: NDArray[np.uint8], x: int, y: int) -> None:
    rgb[y - 3 : y + 3, x - 3 : x + 3] = (0, 255, 0)


def test_scrfd_of_any_size_with_numbered_outputs_is_read_at_every_size(tmp_path: Path) -> None:
    imported = _import(tmp_path, scrfd_of_any_size(), "scrfd", "--golden", "none")
    assert imported.declared == "dynamic"
    assert dict(imported.layout.outputs) == {
        "score_8": "440", "score_16": "443", "score_32": "446",
        "bbox_8": "449", "bbox_16": "452", "bbox_32": "455",
    }  # fmt: skip
    for width, height in ((640, 384), (384, 640), (320, 256)):
        rgb = np.zeros((height, width, 3), np.uint8)
        _spot(rgb, 84, 164)  # the middle of the cell at (80, 160)
        config = DetectorConfig(input_width=max(width, height), input_height=min(width, height))
        with open_detector(load_bundle(tmp_path / "bundle"), config) as detector:
            found = detector.detect_planes(i420(rgb), width, height, ColorInfo())
        assert len(found) == 1
        box = found[0].box
        assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx((72, 152, 88, 168), abs=0.01)


def test_veil_detect_takes_the_folder_of_an_imported_bundle(tmp_path: Path) -> None:
    _import(tmp_path, model_giving(SIZE, _export("yolov8").arrays), "yolov8")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (320, 320)).save(tmp_path / "pictures" / "a.png")
    out = tmp_path / "found.json"
    detect_folder(tmp_path / "pictures", out, bundle=f"{tmp_path / 'bundle'}/")
    (entry,) = json.loads(out.read_text())
    assert entry["category"] == "face"
    x0, y0, x1, y1 = (side / 2 for side in FACE_IN_INPUT)
    assert entry["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.1)


def test_classes_of_a_yolov8_are_the_user_s_in_the_model_s_order(tmp_path: Path) -> None:
    export = Yolov8(*SIZE, classes=3, channel=2)
    export.put(FACE_IN_INPUT, 0.8)
    export.channel = 0
    export.put((400, 400, 500, 420), 0.7)
    export.channel = 1
    export.put((40, 400, 90, 420), 0.9)
    imported = _import(
        tmp_path,
        model_giving(SIZE, export.arrays),
        "yolov8",
        "--threshold",
        "plate=0.5,0.3",
        classes="plate,none,face",
    )
    assert imported.selftest is not None
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.decoder.channels == (0, 2)
    assert bundle.manifest.decoder.values == 7
    assert (bundle.manifest.thresholds["plate"].score, bundle.manifest.thresholds["plate"].low) == (0.5, 0.3)
    with open_detector(bundle, DetectorConfig()) as detector:
        found = detector.detect_planes(i420(np.zeros((640, 640, 3), np.uint8)), *SIZE, ColorInfo())
    assert [(each.kind.value, round(each.box.x0)) for each in found] == [("face", 220), ("plate", 400)]


def test_key_points_after_the_classes_are_left_alone(tmp_path: Path) -> None:
    export = Yolov8(*SIZE, keypoints=15)
    export.put(FACE_IN_INPUT, 0.8)
    imported = _import(tmp_path, model_giving(SIZE, export.arrays), "yolov8")
    assert imported.layout.values == 20
    assert imported.selftest is not None


METADATA = {"names": "{0: 'person', 1: 'face', 2: 'car'}", "task": "detect", "license": "AGPL-3.0 License"}


@pytest.mark.parametrize("classes", ["face", "face,plate", "none,face", "face=3"])
def test_a_class_that_the_file_itself_names_differently_is_refused(tmp_path: Path, classes: str) -> None:
    model = model_giving(SIZE, Yolov8(*SIZE, classes=3).arrays, metadata=METADATA)
    with pytest.raises(BundleError, match="0 person, 1 face, 2 car") as refused:
        _import(tmp_path, model, "yolov8", classes=classes)
    assert "face=INDEX" in refused.value.hint
    assert _left(tmp_path) == ["own.onnx"]


def test_a_class_may_be_picked_by_index_and_the_card_repeats_the_file_s_licence(tmp_path: Path) -> None:
    export = Yolov8(*SIZE, classes=3, channel=1)
    export.put(FACE_IN_INPUT, 0.8)
    model = model_giving(SIZE, export.arrays, metadata=METADATA)
    _import(tmp_path, model, "yolov8", classes="face=1")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.decoder.channels == (1,)
    assert bundle.manifest.license == "LicenseRef-not-stated"
    assert "AGPL-3.0" in bundle.read("card.md").decode()


def test_uint8_models_get_pixels_as_they_are(tmp_path: Path) -> None:
    model = model_giving(SIZE, _export("scrfd").arrays, dtype=TensorProto.UINT8)
    _import(tmp_path, model, "scrfd")
    assert load_bundle(tmp_path / "bundle").manifest.input.dtype == "uint8"
    with pytest.raises(UsageError, match="uint8"):
        import_model(
            replace(parse(_words(tmp_path / "own.onnx", "scrfd", tmp_path / "other")), mean=(1.0, 1.0, 1.0))
        )


def _words(model: Path, kind: str, out: Path) -> list[str]:
    return [str(model), "--kind", kind, "--name", "own", "--classes", "face", "--out", str(out)]


@pytest.mark.parametrize(
    ("kind", "said"),
    [(kind, said) for kind in KINDS for said in get_args(Kind) if said != _cli_kind(kind)],
)
def test_a_model_of_another_kind_is_refused_with_what_it_gives(tmp_path: Path, kind: str, said: str) -> None:
    export = _export(kind)
    with pytest.raises(BundleError, match=f"no {said} model") as refused:
        _import(tmp_path, model_giving(SIZE, export.arrays), said, "--sizes", "declared")
    assert next(iter(export.arrays)) in refused.value.message
    assert refused.value.hint
    assert _left(tmp_path) == ["own.onnx"]


def _logits() -> bytes:
    arrays = Scrfd(*SIZE).arrays
    arrays["score_8"] -= 4
    return model_giving(SIZE, arrays)


def _no_softmax() -> bytes:
    arrays = EXPORTS["retinaface"](*SIZE).arrays
    arrays["conf"] *= 0.5
    return model_giving(SIZE, arrays)


def _end_to_end() -> bytes:
    return model_giving(SIZE, {"output0": np.zeros((1, 300, 6), np.float32)})


def _transposed() -> bytes:
    return model_giving(SIZE, {"output0": Yolov8(*SIZE).arrays["output0"].transpose(0, 2, 1).copy()})


def _broken() -> bytes:
    arrays = _export("yolov8").arrays
    arrays["output0"][0, 4, 0] = np.nan
    return model_giving(SIZE, arrays)


def _odd_size() -> bytes:
    return model_giving((648, 640), EXPORTS["yolov5_face"](648, 640).arrays)


@pytest.mark.parametrize(
    ("kind", "model", "named"),
    [
        ("scrfd", _logits(), "outside 0..1"),
        ("retinaface", _no_softmax(), "no probabilities"),
        ("yolov8", _end_to_end(), "1 x 300 x 6|300, 6"),
        ("yolov8", _transposed(), "8400, 5"),
        ("yolov8", model_giving(SIZE, Yolov8(*SIZE, classes=3).arrays), "values a box"),
        ("yolov8", model_giving(SIZE, Yolov8(*SIZE).arrays, metadata={"task": "obb"}), "turned"),
        ("yolov8", _broken(), "not finite"),
        ("yolov8", model_giving(SIZE, Yolov8(*SIZE).arrays), "finds 0 of 1"),
        ("yolov8", model_giving(SIZE, Yolov8(*SIZE).arrays, batch=4), "4 pictures"),
        ("yolov8", b"no model", "cannot be loaded"),
        ("centerface", b"no model", "no ONNX file"),
    ],
)
def test_a_model_that_would_not_hide_faces_is_refused(
    tmp_path: Path, kind: str, model: bytes, named: str
) -> None:
    with pytest.raises(BundleError, match=named) as refused:
        _import(tmp_path, model, kind)
    assert refused.value.hint
    assert _left(tmp_path) == ["own.onnx"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--size", "320x320"], "640x640 only"),
        (["--name", "Not A Name"], "name"),
        (["--version", "one"], "version"),
        (["--license", ""], "license"),
        (["--threshold", "0.9"], "thresholds.face.score|less than or equal"),
        (["--threshold", "0.3,0.4"], "low is above score"),
        (["--threshold", "high"], "not understood"),
        (["--threshold", "plate=0.3"], "--classes does not"),
        (["--nms-iou", "1.5"], "nms_iou"),
        (["--mean", "nan,0,0"], "mean|TOML|finite"),
        (["--scale", "0"], "scale"),
        (["--classes", "cat"], "not a class"),
        (["--classes", "face,face"], "each once"),
        (["--classes", "none"], "at least one"),
        (["--classes", "face,plate=1"], "two ways"),
        (["--classes", "face=x"], "not a class"),
        (["--classes", "face="], "not a class"),
        (["--golden", "/nowhere/at/all"], "cannot be read"),
    ],
)
def test_options_that_make_no_sense_are_refused_and_leave_nothing(
    tmp_path: Path, options: list[str], named: str
) -> None:
    with pytest.raises(VeilError, match=named) as refused:
        _import(tmp_path, model_giving(SIZE, _export("yolov8").arrays), "yolov8", *options)
    assert refused.value.hint
    assert _left(tmp_path) == ["own.onnx"]


def test_a_fixed_size_that_no_frame_can_be_fitted_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"648x640 is not a multiple of 32"):
        _import(tmp_path, _odd_size(), "yolov5_face")


def test_single_class_kinds_take_one_class(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="one class"):
        _import(tmp_path, model_giving(SIZE, _export("scrfd").arrays), "scrfd", classes="face,plate")


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_nothing_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    out = tmp_path / "bundle"
    match there:
        case "folder":
            out.mkdir()
        case "file":
            out.write_text("mine")
        case _:
            out.symlink_to(tmp_path / "gone")
    before = out.lstat()
    with pytest.raises(UsageError, match="there already"):
        _import(tmp_path, model_giving(SIZE, _export("yolov8").arrays), "yolov8")
    assert out.lstat() == before


def test_what_appears_at_out_meanwhile_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veil_import import importer

    written = importer._write

    def late(folder: Path, files: Any) -> None:
        written(folder, files)
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "mine").write_text("mine")

    monkeypatch.setattr(importer, "_write", late)
    with pytest.raises(UsageError, match="cannot be made"):
        _import(tmp_path, model_giving(SIZE, _export("yolov8").arrays), "yolov8")
    assert _left(tmp_path / "bundle") == ["mine"]
    assert _left(tmp_path) == ["bundle", "own.onnx"]


def test_one_s_own_golden_pictures_are_taken_and_must_be_found(tmp_path: Path) -> None:
    own = tmp_path / "golden"
    own.mkdir()
    Image.new("RGB", (640, 640)).save(own / "gate.png")
    x0, y0, x1, y1 = FACE_IN_INPUT
    entry = {"file_name": "gate.png", "category": "plate", "bbox": [x0, y0, x1 - x0, y1 - y0]}
    (own / "expected.json").write_text(json.dumps([entry]))
    model = model_giving(SIZE, _export("yolov8").arrays)
    imported = _import(tmp_path, model, "yolov8", "--golden", str(own), classes="plate")
    assert imported.selftest is not None
    assert imported.selftest.found == 1
    for broken in (
        "nothing",
        '[{"file_name": "../own.onnx", "category": "plate", "bbox": [0, 0, 1, 1]}]',
        "[1]",
    ):
        (own / "expected.json").write_text(broken)
        with pytest.raises(VeilError):
            import_model(
                replace(parse(_words(tmp_path / "own.onnx", "yolov8", tmp_path / "two")), golden=str(own))
            )
        assert not (tmp_path / "two").exists()


def test_plates_alone_have_no_self_test_and_the_import_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.onnx").write_bytes(model_giving(SIZE, _export("yolov8").arrays))
    words = _words(tmp_path / "own.onnx", "yolov8", tmp_path / "bundle")
    assert main([*words, "--classes", "plate"]) == 0
    assert "no self-test" in capsys.readouterr().out
    assert not load_bundle(tmp_path / "bundle").has("golden/expected.json")


def test_without_scikit_image_the_self_test_must_be_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    model = model_giving(SIZE, _export("yolov8").arrays)
    with pytest.raises(RuntimeMissingError, match="scikit-image"):
        _import(tmp_path, model, "yolov8")
    assert _import(tmp_path, model, "yolov8", "--golden", "none").selftest is None


def test_the_command_names_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(model_giving(SIZE, _export("yolov8").arrays))
    command = Path(__file__).parents[2] / "models" / "import"
    words = _words(tmp_path / "own.onnx", "scrfd", tmp_path / "bundle")
    done = subprocess.run([str(command), *words], capture_output=True, text=True, check=False)
    assert done.returncode == BundleError.exit_code
    assert "no scrfd model" in done.stderr
    assert "--kind" in done.stderr
    assert "Traceback" not in done.stderr
    assert _left(tmp_path) == ["own.onnx"]
    done = subprocess.run(
        [str(command), *_words(tmp_path / "own.onnx", "yolov8", tmp_path / "bundle")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1 found" in done.stdout
