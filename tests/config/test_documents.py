"""What is written about the configuration agrees with the program."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from veil.config_load import ConfigFile, load_config
from veil.config_report import keys_at
from veil.config_schema import reference_text, schema_text

EXAMPLES = Path(__file__).resolve().parents[2] / "edge-configs"
REFERENCE = EXAMPLES / "reference.toml"
# What has no default: its line in the reference is an example.
EXAMPLES_ONLY = re.compile(
    r"\.(password_file|width|height|frame_rate|bundle_dir|directory|score|low|ca|certificate|key)$|^mask\.(head|zones)|^detector.thresh"
)


def uncommented() -> str:
    """The reference with each key switched on."""
    return re.sub(r"(?m)^#(?=\[|[a-z_]+ = )", "", REFERENCE.read_text())


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list) and tree and isinstance(tree[0], dict):
        yield from leaves(tree[0], path)
    else:
        yield path, tree


def known(model: type[BaseModel], path: tuple[str | int, ...] = ()) -> Iterator[str]:
    for key in keys_at(model, path):
        inner: tuple[str | int, ...] = (*path, key)
        if key == "zones":
            inner = (*inner, 0)
        if key == "thresholds":
            inner = (*inner, "face")
        if keys_at(model, inner):
            yield from known(model, inner)
        elif key != "camera":
            yield ".".join(part for part in inner if isinstance(part, str))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    config = load_config(path, {})
    assert config.cameras
    assert config.warnings == ()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_every_example_can_come_from_the_environment(path: Path) -> None:
    environ = {
        f"VEIL_{section}__{key}".upper(): value if isinstance(value, str) else json.dumps(value)
        for section, keys in tomllib.loads(path.read_text()).items()
        if section != "camera"
        for key, value in keys.items()
    }
    from_environment, from_file = load_config(None, environ), load_config(path, {})
    assert from_environment.defaults == from_file.defaults
    assert (from_environment.box, from_environment.rtsp) == (from_file.box, from_file.rtsp)


def test_the_reference_as_it_is_changes_nothing() -> None:
    config = load_config(REFERENCE, {})
    assert config.defaults == load_config(None, {}).defaults
    own = ConfigFile()
    assert (config.box, config.rtsp, config.page) == (own.box, own.rtsp, own.page)
    assert (config.fleet, config.agent) == (own.fleet, own.agent)


def test_the_reference_names_every_key() -> None:
    tree = tomllib.loads(uncommented())
    tree.pop("camera")
    assert {path for path, _ in leaves(tree)} == set(known(ConfigFile))


def test_the_reference_shows_the_defaults() -> None:
    tree = tomllib.loads(uncommented())
    tree.pop("camera")
    defaults = dict(leaves(ConfigFile().model_dump(mode="json", exclude={"camera"})))
    defaults["capture.password"] = ""
    shown = {path: value for path, value in leaves(tree) if not EXAMPLES_ONLY.search(path)}
    assert shown
    assert {path: defaults[path] for path in shown} == shown


def test_the_reference_with_each_key_switched_on_loads(tmp_path: Path) -> None:
    path = tmp_path / "all.toml"
    path.write_text(uncommented().replace('#password = ""', "").replace('password = ""\n', ""))
    assert load_config(path, {}).cameras["front"].mask.zones[0].name == "clock"


def test_the_reference_is_fresh() -> None:
    assert REFERENCE.read_text() == reference_text(), "run make schema"


def test_the_schema_is_fresh() -> None:
    assert (EXAMPLES / "schema.json").read_text() == schema_text(), "run make schema"


def test_every_key_is_described() -> None:
    schema = json.loads(schema_text())
    for name, model in {"file": schema, **schema["$defs"]}.items():
        for key, value in model.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key}"


def test_an_editor_refuses_what_the_loader_refuses() -> None:
    schema = json.loads(schema_text())
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["DetectorConfig"]["additionalProperties"] is False
