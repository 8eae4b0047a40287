"""`veil doctor`: is everything here that Veil needs, and what to do where it is not.

`run_checks` looks, `render` prints, `exit_code` is the command's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from veil.config import Config
from veil.config_load import load_config
from veil.doctor.finding import Finding, Level, fail, ok, warn
from veil.doctor.fleet import check_fleet
from veil.doctor.machine import (
    check_clock,
    check_cpu,
    check_disks,
    check_ports,
    check_python,
    check_temperature,
)
from veil.doctor.parts import check_bundles, check_cameras, check_encoders, check_rtsp_server, check_secrets
from veil.errors import ConfigError

__all__ = ["Finding", "Level", "exit_code", "is_well", "render", "run_checks"]

_CHECKS: tuple[Callable[[Config, Mapping[str, str]], Iterator[Finding]], ...] = (
    check_python,
    check_cpu,
    check_clock,
    check_temperature,
    check_disks,
    check_ports,
    check_rtsp_server,
    check_bundles,
    check_encoders,
    check_secrets,
    check_fleet,
    check_cameras,
)


def run_checks(config_path: Path | None, environ: Mapping[str, str] = os.environ) -> list[Finding]:
    """Everything that can be checked with this configuration; without a valid one, its problems alone.

    Opens each camera for a few seconds and a TLS connection to the broker; writes and
    removes files of 32 MiB where recordings and logs lie.
    """
    try:
        config = load_config(config_path, environ)
    except ConfigError as error:
        return [fail("config", error.message.strip(), error.hint)]
    return [*_check_config(config), *(finding for check in _CHECKS for finding in check(config, environ))]


def is_well(findings: Iterable[Finding]) -> bool:
    """Warnings are well enough."""
    return all(finding.level is not Level.FAIL for finding in findings)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when all is well, 1 otherwise (docs/errors.md)."""
    return 0 if is_well(findings) else 1


def render(findings: Iterable[Finding], console: Console) -> None:
    """A table of findings, what to do below each, and one line at the end that sums it up."""
    marks = {Level.OK: ("ok", "green"), Level.WARN: ("warn", "yellow"), Level.FAIL: ("FAIL", "bold red")}
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    counts = dict.fromkeys(Level, 0)
    for finding in findings:
        word, style = marks[finding.level]
        counts[finding.level] += 1
        said = Text(finding.what)
        if finding.todo:
            said.append(f"\n→ {finding.todo}", style="bold")
        table.add_row(Text(word, style=style), Text(finding.name), said)
    console.print(table)
    console.print(
        f"{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, {counts[Level.FAIL]} that fail",
        highlight=False,
    )


def _check_config(config: Config) -> Iterator[Finding]:
    where = str(config.path) if config.path else "defaults and environment"
    if config.cameras:
        yield ok("config", f"{where}: {', '.join(config.cameras)}; SHA-256 {config.digest[:16]}…")
    else:
        yield warn("config", f"{where}: no camera.", "Add a [camera.NAME] section with a source.")
    for warning in config.warnings:
        yield warn("config", warning)
    if config.path and config.path.stat().st_mode & 0o022:
        yield warn(
            "config", f"{config.path} can be written by others than its owner.", f"chmod go-w {config.path}"
        )
