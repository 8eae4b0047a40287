"""A bundle is used as it was released, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from detect.bundles import MANIFEST, write_bundle
from veil.detect.bundle import MAX_MANIFEST_BYTES, find_bundle, load_bundle
from veil.domain.detection import ObjectClass
from veil.errors import BundleError

FILES = {"model.onnx": b"weights", "golden/a.jpg": b"picture"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "spot", MANIFEST, FILES)


def test_a_whole_bundle_loads(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.identity == "spot@0.1.0"
    assert bundle.manifest.thresholds[ObjectClass.FACE].low == 0.12
    assert bundle.read("model.onnx") == b"weights"
    assert len(bundle.sha256) == 64


def test_a_changed_byte_is_refused(folder: Path) -> None:
    (folder / "golden" / "a.jpg").write_bytes(b"Picture")
    with pytest.raises(BundleError, match=r"golden/a\.jpg") as refused:
        load_bundle(folder)
    assert refused.value.hint


def test_what_is_used_is_what_was_verified(folder: Path) -> None:
    bundle = load_bundle(folder)
    (folder / "model.onnx").write_bytes(b"others!")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        bundle.read("model.onnx")


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks model\.onnx"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["extra.bin", "golden/extra.jpg", "new/extra.jpg"])
def test_an_unlisted_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match="does not list"):
        load_bundle(folder)


def test_a_link_is_refused_even_to_the_right_bytes(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match="link"):
        load_bundle(folder)


def test_a_linked_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "bundle.toml").rename(tmp_path / "outside.toml")
    (folder / "bundle.toml").symlink_to(tmp_path / "outside.toml")
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(folder)


def test_a_linked_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "golden").rename(tmp_path / "elsewhere")
    (folder / "golden").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(BundleError, match="link"):
        load_bundle(folder)


def test_a_fifo_is_refused_without_waiting(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    with pytest.raises(BundleError, match="no regular file"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "golden/../model.onnx", "./model.onnx", "bundle.toml", "a\\\\b"]
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "spot", MANIFEST, {})
    with (folder / "bundle.toml").open("a") as stream:
        stream.write(f'"{name}" = "{"0" * 64}"\n')
    with pytest.raises(BundleError, match="by the name"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("schema = 1", "schema = 2", "schema 2"),
        ("schema = 1", "", "schema None"),
        ('license = "Apache-2.0"', 'license = "Apache-2.0"\nauthor = "x"', "author"),
        ("[decoder]", "[decoder]\nspeed = 1", "decoder.speed"),
        ('version = "0.1.0"', 'version = "one"', "version"),
        ('version = "0.1.0"', "version = 0.1", "version"),
        ('name = "spot"', 'name = "../spot"', "name"),
        ('classes = ["face", "plate"]', 'classes = ["face", "cat"]', "classes"),
        ('classes = ["face", "plate"]', 'classes = ["face"]', "thresholds"),
        ('classes = ["face", "plate"]', 'classes = ["face", "plate", "face"]', "classes"),
        ('kind = "ltrb_grid"', 'kind = "magic"', "decoder.kind"),
        ('kind = "ltrb_grid"', 'kind = "yunet"', "one class"),
        ("nms_iou = 0.45", "nms_iou = 0.45\nbox_of = [0]", "one for each class"),
        ("nms_iou = 0.45", "nms_iou = 0.45\nbox_of = [0, -1]", "decoder.box_of"),
        ("strides = [8]", 'strides = ["8"]', "decoder.strides"),
        ("strides = [8]", "strides = []", "decoder.strides"),
        ("nms_iou = 0.45", "nms_iou = nan", "decoder.nms_iou"),
        ("nms_iou = 0.45", "nms_iou = 1.5", "decoder.nms_iou"),
        ("size = [640, 384]\n", "size = [640, 383]\n", "multiple"),
        ("size = [640, 384]\n", "size = [640]\n", "input.size"),
        ("onnx_dynamic = true", "onnx_dynamic = 1", "input.onnx_dynamic"),
        ('dtype = "uint8"', 'dtype = "uint8"\nscale = 2.0', "float32"),
        ("low = 0.12", "low = 0.4", "low"),
        ("score = 0.30", "score = 0.95", "score"),
        ("min_recall = 0.9", "min_recall = 2019-01-01", "selftest|JSON"),
        ("[input]", "[input", "TOML"),
    ],
)
def test_a_manifest_that_does_not_verify_is_refused_by_name(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in MANIFEST
    folder = write_bundle(tmp_path / "spot", MANIFEST.replace(old, new, 1), FILES)
    with pytest.raises(BundleError, match=named) as refused:
        load_bundle(folder)
    assert refused.value.hint


def test_a_hash_must_be_a_hash(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "spot", MANIFEST, {})
    with (folder / "bundle.toml").open("a") as stream:
        stream.write('"model.onnx" = "abc"\n')
    with pytest.raises(BundleError, match="files"):
        load_bundle(folder)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / "bundle.toml").open("a") as stream:
        stream.write("#" * MAX_MANIFEST_BYTES)
    with pytest.raises(BundleError, match="larger than"):
        load_bundle(folder)


def test_a_huge_file_is_not_read(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as stream:
        stream.truncate(600 * 1024 * 1024)  # sparse
    with pytest.raises(BundleError, match="larger than"):
        load_bundle(folder)


def test_a_bundle_is_found_by_name_and_by_path(folder: Path) -> None:
    assert find_bundle("spot", folder.parent) == folder
    assert find_bundle(str(folder)) == folder


@pytest.mark.parametrize("name", ["nothing", "..", ".", ""])
def test_a_bundle_that_is_not_there_is_refused_with_the_folders_searched(folder: Path, name: str) -> None:
    with pytest.raises(BundleError, match="no bundle") as refused:
        find_bundle(name, folder.parent)
    assert str(folder.parent) in refused.value.hint
