"""`veil-fleet user …`: who may look at the page. Passwords come from a prompt or standard input."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veil.errors import UsageError
from veil_fleet.roles import Role

if TYPE_CHECKING:
    from sqlalchemy import Engine

users = typer.Typer(name="user", help="Who may look at the fleet's page.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file of the fleet manager.")
]
NameArgument = Annotated[str, typer.Argument(help="Name of the user.")]


def register(app: typer.Typer) -> None:
    """Adds `user`."""
    app.add_typer(users)


@contextmanager
def _store(config: Path | None) -> Iterator[Engine]:
    from veil_fleet.settings import load_settings
    from veil_fleet.store.engine import open_engine
    from veil_fleet.store.schema import migrate

    engine = open_engine(load_settings(config), application="veil-fleet-user")
    try:
        # The first user may be made before the first collector runs.
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


@users.command()
def add(
    name: NameArgument,
    role: Annotated[
        Role,
        typer.Option(
            help="viewer: sees boxes and alarms. operator: closes alarms and sends commands too. "
            "auditor: sees, searches and exports evidence."
        ),
    ],
    config: ConfigOption = None,
) -> None:
    """Let somebody in. Asks for the password, or reads it from standard input."""
    from veil_fleet.users import add_user

    password = read_password(name)
    with _store(config) as engine:
        add_user(engine, name, role, password)
    print(f"{name} is in, as {role}.")


@users.command()
def passwd(name: NameArgument, config: ConfigOption = None) -> None:
    """Set another password. Ends the user's sessions, and lets a disabled user in again."""
    from veil_fleet.users import set_password

    password = read_password(name)
    with _store(config) as engine:
        set_password(engine, name, password)
    print(f"{name} has another password.")


@users.command()
def disable(name: NameArgument, config: ConfigOption = None) -> None:
    """Shut somebody out, at once. What the user did stays in the list of accesses."""
    from veil_fleet.users import disable_user

    with _store(config) as engine:
        disable_user(engine, name)
    print(f"{name} is out.")


@users.command("list")
def list_(config: ConfigOption = None) -> None:
    """Everybody, with role and since when."""
    from veil_fleet.users import list_users

    with _store(config) as engine:
        found = list_users(engine)
    width = max((len(user.name) for user in found), default=0)
    for user in found:
        since = f"since {_day(user.created_ms)}"
        state = since if user.disabled_ms is None else f"disabled {_day(user.disabled_ms)}"
        print(f"{user.name:{width}}  {user.role:8}  {state}")


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def read_password(name: str) -> str:
    """Typed twice at a terminal, otherwise the first line of standard input. Raises UsageError."""
    from veil_fleet.users import MAX_PASSWORD

    if not sys.stdin.isatty():
        line = sys.stdin.readline(MAX_PASSWORD + 2).rstrip("\r\n")
        if not line:
            raise UsageError("There is no password on standard input.", hint="Write it there as one line.")
        return line
    password = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass("Again: ") != password:
        raise UsageError("The two passwords are not the same.")
    return password
