"""A release takes a bundle's place only when a box would take it, and carries no card of another net."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from models.golden_data import golden_as_data
from veil_models import __main__ as commands
from veil_models.card import SOURCES, keep_or_begin, sources_of, write_card
from veil_models.dataset import Picture
from veil_models.errors import ModelsError
from veil_models.quantize import spread
from veil_models.release import (
    SIZES,
    THRESHOLDS,
    UNSTATED,
    Release,
    appearing,
    rehash,
    stated_license,
    write_manifest,
)
from veil_models.tried import require_valid, try_bundle

BUNDLES = Path(__file__).parents[2] / "models" / "bundles"
CHECKPOINT = Path(__file__).parents[2] / "models" / "checkpoints" / "veil-n.pt"
YOURS = [Picture(Path(f"{i}.jpg"), 64, 64, "gate cameras", frozenset({"plate"})) for i in range(3)]


def _release(name: str = "own-s") -> Release:
    return Release(name, "1.2.3", SIZES["veil-s"], THRESHOLDS["veil-s"])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of ours, as a user would retrain it in place."""
    return Path(shutil.copytree(BUNDLES / "veil-s", tmp_path / "own-s"))


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _fail_halfway(bundle: Path) -> None:
    with appearing(bundle) as folder:
        (folder / "model.onnx").write_bytes(b"half")
        raise ModelsError("too little")


def test_a_bundle_is_exchanged_as_a_whole_or_stays(bundle: Path) -> None:
    before = _tree(bundle)
    with pytest.raises(ModelsError, match="too little"):
        _fail_halfway(bundle)
    assert _tree(bundle) == before
    with appearing(bundle) as folder:
        (folder / "model.onnx").write_bytes(b"new")
        assert _tree(bundle) == before
    assert _tree(bundle) == before | {"model.onnx": b"new"}
    with appearing(bundle.with_name("fresh")) as folder:
        (folder / "card.md").write_text("x")
    assert sorted(p.name for p in bundle.parent.iterdir()) == ["fresh", "own-s"]


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelsError, match="no bundle"), appearing(tmp_path):
        pass
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "1.0"}, "version '1.0'"),
        ({"size": (650, 390)}, "not a multiple of 32"),
        ({"size": (64, 64)}, "input_width 64"),
        ({"name": "My net"}, "name 'My net'"),
        ({"license": ""}, "license ''"),
    ],
)
def test_what_a_box_would_refuse_is_refused_before_the_work(change: dict[str, object], said: str) -> None:
    require_valid(_release())
    with pytest.raises(ModelsError, match="a box would refuse it") as refused:
        require_valid(replace(_release(), **change))  # type: ignore[arg-type]
    assert said in str(refused.value)


def test_a_release_is_loaded_and_tried_as_a_box_does(bundle: Path) -> None:
    write_manifest(bundle, _release())
    try_bundle(bundle, _release())
    expected = json.loads((bundle / "golden" / "expected.json").read_text())
    for entry in expected:
        entry["bbox"][0] += 400
    (bundle / "golden" / "expected.json").write_text(json.dumps(expected))
    with pytest.raises(ModelsError, match="manifest lists"):
        try_bundle(bundle, _release())
    rehash(bundle)
    with pytest.raises(ModelsError, match="a box would refuse this bundle"):
        try_bundle(bundle, _release())


def test_name_and_licence_are_the_owners(bundle: Path) -> None:
    assert stated_license(bundle, "veil-s") == "Apache-2.0"
    assert stated_license(bundle, "own-s") == UNSTATED
    assert stated_license(bundle.with_name("fresh"), "own-s") == UNSTATED
    write_manifest(bundle, replace(_release(), license='mine, "all" mine'))
    about = tomllib.loads((bundle / "bundle.toml").read_text())
    assert (about["name"], about["license"]) == ("own-s", 'mine, "all" mine')
    assert stated_license(bundle, "own-s") == 'mine, "all" mine'


def test_a_card_of_another_net_is_not_taken_over(bundle: Path) -> None:
    model = (bundle / "model.onnx").read_bytes()
    keep_or_begin(bundle, _release(), YOURS, before=model)
    card = (bundle / "card.md").read_text()
    assert card.startswith("# own-s 1.2.3\n")
    assert UNSTATED in card
    assert "gate cameras" in card
    for words in ("SCUT-HEAD", "0.7.0", "AP@.4"):
        assert words not in card
    (bundle / "card.md").write_text(card + "filled in\n")
    keep_or_begin(bundle, _release(), YOURS, before=model)
    assert (bundle / "card.md").read_text().endswith("filled in\n")
    keep_or_begin(bundle, _release(), YOURS, before=b"the net before it")
    assert (bundle / "card.md").read_text() == card


def test_our_own_cards_stay_when_nothing_changed(bundle: Path) -> None:
    card = (bundle / "card.md").read_text()
    about = tomllib.loads((bundle / "bundle.toml").read_text())
    same = replace(_release(about["name"]), version=about["version"])
    keep_or_begin(bundle, same, YOURS, before=(bundle / "model.onnx").read_bytes())
    assert (bundle / "card.md").read_text() == card


def test_a_card_names_the_sets_that_were_trained_on(bundle: Path, tmp_path: Path) -> None:
    assert sources_of(dict.fromkeys(name for row in SOURCES for name in row[0].split(", "))) == list(SOURCES)
    assert sources_of({"mask853": 2, "b": 3}) == [
        ("mask853", *SOURCES[0][1:]),
        ("b", "pictures of whoever trained this net (3)", "not stated"),
    ]
    figures, limits = tmp_path / "figures.json", tmp_path / "limits.txt"
    figures.write_text('{"own-s int8": {}}')
    limits.write_text("- None known.\n")
    write_card(bundle, figures, limits, 640, None)
    assert "SCUT-HEAD" in (bundle / "card.md").read_text()
    write_manifest(bundle, _release())
    with pytest.raises(ModelsError, match="--data"):
        write_card(bundle, figures, limits, 640, None)
    write_card(bundle, figures, limits, 640, YOURS)
    card = (bundle / "card.md").read_text()
    assert "| gate cameras |" in card
    assert "SCUT-HEAD" not in card
    assert "make models DATA=" not in card
    try_bundle(bundle, _release())


def _command(bundle: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrates on the golden pictures."""
    data = bundle.parent / "data"
    data.mkdir(exist_ok=True)
    if not (data / "train.json.gz").exists():
        golden_as_data(data, BUNDLES / "veil-n", frozenset())
    call = [
        "release",
        "--data",
        data,
        "--work",
        data / "work",
        "--checkpoint",
        checkpoint,
        "--bundle",
        bundle,
    ]
    monkeypatch.setattr(sys, "argv", ["veil_models", *map(str, call), "--version", "1.2.3"])
    commands.main()


def test_a_net_that_finds_too_little_is_not_released(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/requirements-train.txt")
    checkpoint = bundle.parent / "new.pt"
    state = torch.load(CHECKPOINT, weights_only=True)
    silent = {key: value * 0 for key, value in state["average"].items()}
    torch.save({**state, "average": silent}, checkpoint)
    before = _tree(bundle)
    for target in (bundle, bundle.with_name("fresh")):
        with pytest.raises(SystemExit) as ended:
            _command(target, checkpoint, monkeypatch)
        assert ended.value.code == 2
        assert "0 of 11 objects" in capsys.readouterr().err
    assert _tree(bundle) == before
    assert not bundle.with_name("fresh").exists()


def test_a_net_that_finds_enough_is_released_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: models/requirements-train.txt")
    _command(tmp_path / "own-n", CHECKPOINT, monkeypatch)
    about = tomllib.loads((tmp_path / "own-n" / "bundle.toml").read_text())
    assert (about["name"], about["version"], about["license"]) == ("own-n", "1.2.3", UNSTATED)
    assert (tmp_path / "own-n" / "card.md").read_text().startswith("# own-n 1.2.3\n")


def test_calibration_sees_every_set() -> None:
    sizes = {"street": 900, "metro": 9, "dashcam": 2}
    pictures = [Picture(Path("x"), 1, 1, name, frozenset()) for name, n in sizes.items() for _ in range(n)]
    chosen = spread(pictures, 30)
    assert len(set(chosen)) == 30
    assert Counter(pictures[i].source for i in chosen) == {"street": 19, "metro": 9, "dashcam": 2}
    of_street = [i for i in chosen if i < 900]
    assert max(b - a for a, b in itertools.pairwise(of_street)) <= 48
    assert spread(pictures, 10_000) == list(range(911))
    assert len(spread(pictures, 2)) == 2
    assert spread([], 5) == []
