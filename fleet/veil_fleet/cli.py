"""The `veil-fleet` command. Every error is one clear message and the exit code that docs/errors.md lists."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from veil import __version__
from veil.command_line import run_command
from veil_fleet import cli_commands, cli_enrol, cli_serve, cli_users

app = typer.Typer(
    name="veil-fleet",
    help="The fleet manager: enrols boxes, receives and checks their evidence, and shows them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        print(f"veil-fleet {__version__}")
        raise typer.Exit


# Each part has a `register(app)` that adds its commands; one line a part.
cli_enrol.register(app)
cli_serve.register(app)
cli_commands.register(app)
cli_users.register(app)


def main() -> None:
    run_command(app, "veil-fleet", sys.exit)


if __name__ == "__main__":
    main()
