"""What is generated from the configuration's classes: schema.json and reference.toml in edge-configs/.

`python -m veil.config_schema schema` or `reference` prints one of them; `make schema` writes both.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from veil.config import CameraSections, PolicyConfig, Section, ThresholdConfig, ZoneConfig
from veil.config_load import CameraEntry, ConfigFile

_WIDTH = 110
_INTRO = """\
Veil's configuration: every key with its default. This file is the manual, and it is generated from the
program (make schema), so the two cannot disagree.

A line that starts with "#key" is a key with its default: take the # away to change it. Where a key has no
default its line shows an example, and its description says what happens while it is unset.

The sections at the top are the defaults of all cameras. The same section inside a camera, e.g.
[camera.front.detector], overrides single keys for that camera. Lists are replaced as a whole.

Every key can be set from the environment: VEIL_DETECTOR__THREADS=2, or for one camera
VEIL_CAMERA__FRONT__SOURCE=rtsp://... (_ stands for - in names). A camera's own value wins over a default from
anywhere; among equals the environment wins over this file. Unknown keys are refused.

Passwords belong into a file of their own (capture.password_file) or into the environment
(VEIL_CAMERA__FRONT__CAPTURE__PASSWORD), not in here."""


def schema_text() -> str:
    """JSON Schema of the file, for editors."""
    schema = ConfigFile.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Veil"}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def reference_text() -> str:
    """The commented reference."""
    lines = ["#:schema ./schema.json", *(f"# {line}".rstrip() for line in _INTRO.splitlines())]
    for name in ("box", "rtsp", "page", "fleet", "agent", *CameraSections.model_fields):
        lines += _section(name, _model(ConfigFile.model_fields[name]))
    lines += [
        "",
        "# The cameras: NAME is what follows the dot, 1 to 32 of a-z, 0-9, - and _.",
        "[camera.front]",
    ]
    source = CameraEntry.model_fields["source"]
    lines += _comment(str(source.description))
    lines += [f"source = {_toml(_example(source))}", ""]
    lines += _comment("What differs from the defaults above, for this camera alone:")
    lines += ["#[camera.front.capture]", f"#user = {_toml('viewer')}"]
    password_file = _model(ConfigFile.model_fields["capture"]).model_fields["password_file"]
    lines += [f"#password_file = {_toml(_example(password_file))}"]
    return "\n".join(lines) + "\n"


def _section(name: str, model: type[BaseModel]) -> Iterator[str]:
    yield ""
    yield f"# {_title(model)}"
    yield f"[{name}]"
    defaults = model()
    tables: list[Iterator[str]] = []
    for key, field in model.model_fields.items():
        default = getattr(defaults, key)
        if key == "thresholds":
            tables.append(_table(f"[{name}.{key}.face]", ThresholdConfig, ThresholdConfig(), ""))
        elif key == "zones":
            tables.append(_table(f"[[{name}.{key}]]", ZoneConfig, None, str(field.description)))
            tables.append(_table(f"[{name}.{key}.policy]", PolicyConfig, PolicyConfig(), ""))
        elif issubclass(inner := _model(field), Section):
            shown = default if default is not None else inner()
            tables.append(_table(f"[{name}.{key}]", inner, shown, str(field.description)))
        else:
            yield from _key(key, field, default)
    for table in tables:
        yield from table


def _table(header: str, model: type[BaseModel], shown: BaseModel | None, description: str) -> Iterator[str]:
    """A table that is not there by default, or that has its defaults: written as a comment altogether."""
    yield ""
    yield from _comment(description or _title(model))
    yield f"#{header}"
    for key, field in model.model_fields.items():
        if isinstance(field.default, Section):
            continue
        yield from _key(key, field, getattr(shown, key) if shown else field.get_default())


def _key(key: str, field: FieldInfo, default: object) -> Iterator[str]:
    limits = _limits(field)
    yield from _comment(f"{field.description}{f' ({limits})' if limits else ''}")
    shown = _example(field) if default is None or field.is_required() else default
    yield f"#{key} = {_toml(shown)}"


def _comment(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _title(model: type[BaseModel]) -> str:
    """The first sentence of a class, without the name of its section."""
    text = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    title = text.partition(": ")[2] or text
    return title[0].upper() + title[1:]


def _limits(field: FieldInfo) -> str:
    options = _options(field.annotation)
    if options:
        return ", ".join(options)
    bounds = {
        bound: getattr(part, bound)
        for part in field.metadata
        for bound in ("ge", "gt", "le", "lt")
        if hasattr(part, bound)
    }
    low = f"{bounds['ge']:g}" if "ge" in bounds else f"over {bounds['gt']:g}" if "gt" in bounds else ""
    high = f"{bounds['le']:.10g}" if "le" in bounds else f"under {bounds['lt']:g}" if "lt" in bounds else ""
    return " to ".join(part for part in (low, high) if part)


def _options(annotation: object) -> tuple[str, ...]:
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def _model(field: FieldInfo) -> type[BaseModel]:
    """The class of a section's field; BaseModel itself for a plain value."""
    annotation: object = field.annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else BaseModel


def _example(field: FieldInfo) -> Any:
    if not field.examples:
        raise AssertionError(f"a key without a default needs an example: {field.description}")
    return field.examples[0]


def _toml(value: object) -> str:
    match value:
        case SecretStr():
            return _toml(value.get_secret_value())
        case Enum():
            return _toml(value.value)
        case Path():
            return _toml(str(value))
        case tuple() | list():
            return f"[{', '.join(_toml(part) for part in value)}]"
        case bool() | int() | float() | str():
            return json.dumps(value)
        case _:
            raise AssertionError(f"no TOML for {type(value).__name__}")


if __name__ == "__main__":
    sys.stdout.write({"schema": schema_text, "reference": reference_text}[sys.argv[1]]())
