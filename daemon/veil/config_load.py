"""Reads the configuration: file, then environment, merged into one frozen `Config`.

Everything wrong is said at once, in one ConfigError, with its place and never with a secret value.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)
from pydantic_settings.sources.utils import parse_env_vars

from veil.config import (
    BOX_LOG,
    NAME_PATTERN,
    AgentConfig,
    BoxConfig,
    CameraConfig,
    CameraSections,
    Config,
    FleetConfig,
    PageConfig,
    RtspConfig,
    Section,
    scalar_of,
)
from veil.config_lines import Loc
from veil.config_report import Report, inside
from veil.config_secrets import SplitSource, split_credentials
from veil.errors import ConfigError

ENV_PREFIX = "VEIL_"
OTHERS_VARIABLE = re.compile(r"VEIL_FLEET_[^_]")
"""The fleet manager's settings, on a machine that runs both; `[fleet]` of a box is VEIL_FLEET__KEY."""
ENV_DELIMITER = "__"

Tree = dict[str, Any]
S = TypeVar("S", bound=Section)


class CameraEntry(CameraSections):
    """`[camera.NAME]` as it stands in the file: a source, and what differs from the defaults."""

    source: str = Field(
        description=str(CameraConfig.model_fields["source"].description),
        examples=CameraConfig.model_fields["source"].examples,
    )


class ConfigFile(CameraSections):
    """The whole file."""

    box: BoxConfig = Field(BoxConfig(), description="the device")
    rtsp: RtspConfig = Field(RtspConfig(), description="the anonymized streams")
    page: PageConfig = Field(PageConfig(), description="the small local page")
    fleet: FleetConfig = Field(FleetConfig(), description="the fleet manager's broker")
    agent: AgentConfig = Field(AgentConfig(), description="health, and evidence on its way")
    camera: dict[str, CameraEntry] = Field(default_factory=dict, description="the cameras by name")


class _Sources(ConfigFile, BaseSettings):
    """Tells pydantic-settings the names to look for; never instantiated, its sources are read one by one."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER, extra="forbid"
    )


class _Environment(EnvSettingsSource):
    """Overrides from a given environment instead of the process's own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(_Sources)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return parse_env_vars(self._environ, case_sensitive=False)


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a box.

    Args:
        path: the TOML file; None for defaults and environment alone.
        environ: `VEIL_SECTION__KEY` overrides `[section] key`, `VEIL_CAMERA__NAME__SECTION__KEY` that of one
            camera (`_` stands for `-` in names); a camera's own value wins over a default from anywhere.
            Lists and tables, a whole section too, are JSON.

    Raises:
        ConfigError: with everything that is wrong, one line each.
    """
    text, from_file = _read_file(path)
    report = Report(path, text, from_file, ENV_PREFIX)
    from_env = _read_environment(environ, from_file, report)
    report.environment = from_env
    merged = _merge(from_file, from_env)
    for key in merged.keys() - ConfigFile.model_fields.keys():
        report.unknown((key,), ConfigFile.model_fields, {})

    box = _section(BoxConfig, merged, "box", report)
    rtsp = _section(RtspConfig, merged, "rtsp", report)
    page = _section(PageConfig, merged, "page", report)
    fleet = _section(FleetConfig, merged, "fleet", report)
    agent = _section(AgentConfig, merged, "agent", report)

    base = _merge(_DEFAULTS, {key: merged[key] for key in CameraSections.model_fields if key in merged})
    defaults = _validate(CameraSections, base, (), report)
    cameras: dict[str, CameraConfig] = {}
    for name, entry in _tables(merged, "camera", report):
        camera = _camera(name, entry, base, report)
        if camera is not None:
            cameras[name] = camera
    _check_devices(cameras, report)
    if rtsp and page and rtsp.enabled and page.port == rtsp.port:
        report.problem(("page", "port"), f"port {page.port} is the port of [rtsp] too")
    if agent and agent.prometheus_port:
        for key, taken in (("rtsp", rtsp and rtsp.enabled and rtsp.port), ("page", page and page.port)):
            if taken == agent.prometheus_port:
                report.problem(("agent", "prometheus_port"), f"port {taken} is the port of [{key}] too")
    report.raise_if_any()
    if box is None or rtsp is None or page is None or fleet is None or agent is None or defaults is None:
        raise AssertionError("a section is missing without a reported problem")
    return Config(
        box, rtsp, page, fleet, agent, defaults, MappingProxyType(cameras), tuple(report.warnings), path
    )


_DEFAULTS: Tree = CameraSections().model_dump()


def _read_file(path: Path | None) -> tuple[str, Tree]:
    if path is None:
        return "", {}
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):
            raise ConfigError(
                f"{path}: begins with a byte order mark.", hint="Save it as UTF-8 without one (BOM)."
            )
        return text, TomlConfigSettingsSource(_Sources, toml_file=path).toml_data
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file.", hint="Copy one from edge-configs/, or name one with --config."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text.", hint="Save it as UTF-8.") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply.", hint="Remove the brackets.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: is not TOML: {error}.", hint="edge-configs/reference.toml shows how it is written."
        ) from None


def _read_environment(environ: Mapping[str, str], from_file: Tree, report: Report) -> Tree:
    known = set(ConfigFile.model_fields)
    ours = {
        key: value
        for key, value in environ.items()
        if key.upper().startswith(ENV_PREFIX)
        and (ENV_DELIMITER in key[len(ENV_PREFIX) :] or key[len(ENV_PREFIX) :].lower() in known)
        and not OTHERS_VARIABLE.match(key.upper())
    }
    for key in sorted(ours):
        section = key[len(ENV_PREFIX) :].split(ENV_DELIMITER)[0].lower()
        if section not in known:
            report.unknown_variable(key, section, known)
    try:
        tree: Tree = _Environment(ours)()
    except (SettingsError, RecursionError):
        wrong = ", ".join(key for key in sorted(ours) if not _is_readable(key, ours[key]))
        raise ConfigError(
            f"environment {wrong}: is not JSON, or nested too deeply.",
            hint="Lists and tables are written as JSON in the environment, with double quotes; "
            f"one key can have a variable of its own, such as {ENV_PREFIX}DETECTOR__THRESHOLDS__FACE__SCORE.",
        ) from None
    tree = _typed(tree, ConfigFile)
    cameras = tree.get("camera")
    if isinstance(cameras, dict):
        named = from_file.get("camera")
        by_variable = {str(name).replace("-", "_"): name for name in named} if isinstance(named, dict) else {}
        tree["camera"] = {by_variable.get(name, name): entry for name, entry in cameras.items()}
    return tree


def _typed(value: Any, annotation: object) -> Any:
    """Variables are text: where a number or a truth value belongs, what they say; else as they are."""
    if isinstance(value, dict):
        return {key: _typed(part, inside(annotation, key)) for key, part in value.items()}
    kind = scalar_of(annotation)
    if kind is None or not isinstance(value, str):
        return value
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return value


def _is_readable(key: str, value: str) -> bool:
    try:
        _Environment({key: value})()
    except (SettingsError, RecursionError):
        return False
    return True


def _merge(below: Tree, above: Tree) -> Tree:
    """A deep copy of `below` with the keys of `above` laid over it; lists are replaced as a whole."""
    merged = {key: _merge(value, {}) if isinstance(value, dict) else value for key, value in below.items()}
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, dict):
            merged[key] = _merge(under if isinstance(under, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _tables(tree: Tree, key: str, report: Report) -> Iterator[tuple[str, Tree]]:
    tables = tree.get(key, {})
    if not isinstance(tables, dict):
        report.problem((key,), f"is not a section; write [{key}.NAME]")
        return
    for name, table in tables.items():
        if not re.fullmatch(NAME_PATTERN, name):
            report.problem(
                (key, name), "names have 1 to 32 of a-z, 0-9, - and _, and start with a letter or digit"
            )
        elif not isinstance(table, dict):
            report.problem((key, name), f"is not a section; write [{key}.{name}]")
        else:
            yield name, table


def _section(model: type[S], tree: Tree, key: str, report: Report) -> S | None:
    return _validate(model, tree.get(key, {}), (key,), report)


def _validate(model: type[S], values: object, loc: Loc, report: Report) -> S | None:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        report.invalid(error, loc, model, ConfigFile)
        return None


def _camera(name: str, entry: Tree, base: Tree, report: Report) -> CameraConfig | None:
    loc: Loc = ("camera", name)
    if name == BOX_LOG:
        report.problem(loc, f'"{name}" is the name of the box\'s own log; call the camera otherwise')
        return None
    if "name" in entry:
        report.problem((*loc, "name"), "the name of a camera is the one in its section's header; remove this")
        return None
    merged = _merge(base, entry)
    source = merged.get("source")
    if isinstance(source, str):
        try:
            split = split_credentials(source)
        except ValueError as error:
            report.problem((*loc, "source"), str(error))
            return None
        merged["source"] = split.source
        if split.user or split.password:
            _move_credentials(split, merged, entry, loc, report)
    return _validate(CameraConfig, {**merged, "name": name}, loc, report)


def _move_credentials(split: SplitSource, merged: Tree, entry: Tree, loc: Loc, report: Report) -> None:
    """Into `capture`, over the defaults; a camera that names credentials in both places is refused."""
    own = entry.get("capture", {})
    capture = merged.get("capture")
    if not isinstance(own, dict) or not isinstance(capture, dict):
        return
    for key, value in (("user", split.user), ("password", split.password)):
        if not value:
            continue
        if key in own or (key == "password" and "password_file" in own):
            report.problem((*loc, "source"), f"holds a {key}, and capture has one too; keep one")
        capture[key] = value
    if split.password:
        capture["password_file"] = None
        report.warnings.append(
            f"camera {loc[1]}: the password stands in the source; "
            "put it into a file and name that in capture.password_file."
        )


def _check_devices(cameras: Mapping[str, CameraConfig], report: Report) -> None:
    """Two processes cannot read one V4L2 device."""
    users: dict[str, str] = {}
    for name, camera in cameras.items():
        device = os.path.normpath(camera.source.strip().removeprefix("v4l2:"))
        if not device.startswith("/dev/"):
            continue
        if device in users:
            report.problem(("camera", name, "source"), f"{device} is read by camera {users[device]} already")
        users.setdefault(device, name)
