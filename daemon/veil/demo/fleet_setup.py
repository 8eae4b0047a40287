"""`python -m veil.demo.fleet_setup`: the demo's fleet, set up by the commands of `veil-fleet` in one process.

It is a child of the demo: the fleet manager's libraries load while the demo's clip is made.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from veil.errors import UsageError, VeilError
from veil_fleet.cli import app as veil_fleet


def setup(
    folder: Annotated[Path, typer.Argument(help="Of the fleet; what is there already is used again.")],
    device: Annotated[str, typer.Argument(help="Name of the box.")],
    port: Annotated[int, typer.Option(help="Of the broker, for boxes.")],
    fleet_port: Annotated[int, typer.Option(help="Of the broker, for the fleet manager.")],
    user: Annotated[
        list[str],
        typer.Option(help="NAME=ROLE: who may look at the page, with the password on standard input."),
    ],
) -> None:
    """Authorities, the broker's configuration, one box enrolled, users."""
    password = sys.stdin.readline()
    if not (folder / "site.json").exists():
        ports = ["--port", str(port), "--fleet-port", str(fleet_port)]
        _veil_fleet("init", str(folder), "--host", "localhost", *ports)
    os.environ["VEIL_FLEET_CONFIG"] = str(folder / "fleet.toml")
    data = folder / "broker-data"
    data.mkdir(exist_ok=True)
    account = ["--user", "root"] if os.geteuid() == 0 else []
    _veil_fleet(
        "broker-config", str(folder), "--data", str(data), *account,
        "--port", str(port), "--fleet-port", str(fleet_port),
        "--address", "127.0.0.1", "--fleet-address", "127.0.0.1",
    )  # fmt: skip
    box = folder / "box"
    if not box.exists():
        _first_that_is_taken(
            partial(_veil_fleet, "enroll", device, "--site", "demo", "--out", str(box)),
            partial(_veil_fleet, "renew", device, "--out", str(box)),
        )
    for one in user:
        name, _, role = one.partition("=")
        _first_that_is_taken(
            partial(_veil_fleet, "user", "add", name, "--role", role, password=password),
            partial(_veil_fleet, "user", "passwd", name, password=password),
        )


def _veil_fleet(*arguments: str, password: str = "") -> None:
    """Runs one command; what it says goes nowhere, its errors to the caller."""
    before, sys.stdin = sys.stdin, io.StringIO(password)
    try:
        with redirect_stdout(io.StringIO()):
            veil_fleet(list(arguments), standalone_mode=False)
    finally:
        sys.stdin = before


def _first_that_is_taken(first: Callable[[], None], second: Callable[[], None]) -> None:
    """`second` where an earlier demo in this folder has done the first already."""
    try:
        first()
    except UsageError:
        second()


def main() -> None:
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(setup)
    try:
        command()
    except VeilError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
