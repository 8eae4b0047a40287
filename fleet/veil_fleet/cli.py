"""The `veil-fleet` command. Every error is one clear message and the exit code that docs/errors.md lists."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from veil import __version__
from veil.errors import VeilError
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
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,  # noqa: FBT002
) -> None:
    if version:
        print(f"veil-fleet {__version__}")
        raise typer.Exit


def _complain(error: VeilError) -> None:
    print(f"veil-fleet: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"            {error.hint}", file=sys.stderr)


def run_command(command: typer.Typer) -> None:
    """Runs a command line. Errors of ours are printed without a trace; a broken pipe is not an error."""
    try:
        command()
    except VeilError as error:
        _complain(error)
        sys.stdout.flush()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)


# Each part has a `register(app)` that adds its commands; one line a part.
cli_enrol.register(app)
cli_serve.register(app)
cli_commands.register(app)
cli_users.register(app)


def main() -> None:
    run_command(app)


if __name__ == "__main__":
    main()
