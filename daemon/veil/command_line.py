"""What the command lines have in common. It loads nothing heavy: help and errors of a call come at once."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import typer

from veil.errors import UsageError, VeilError

DEFAULT_PATH: Final = Path("/etc/veil/veil.toml")
"""A box's configuration."""


def config_path(path: Path | None) -> Path | None:
    """What `--config` named, else `DEFAULT_PATH` where it exists."""
    return DEFAULT_PATH if path is None and DEFAULT_PATH.exists() else path


def require_input(path: Path) -> None:
    """Raises UsageError where nothing has that name. What else may be wrong is said by who reads it."""
    try:
        path.stat()
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.", hint="Check the path.") from None
    except (OSError, ValueError):
        return


def complain(error: VeilError, program: str) -> None:
    """One message to stderr: what is wrong, and below it what to do."""
    print(f"{program}: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"{' ' * len(program)}  {error.hint}", file=sys.stderr)


def run_command(
    command: typer.Typer, program: str = "veil", end: Callable[[int], NoReturn] = os._exit
) -> None:
    """Runs a command line. Errors of ours are printed without a trace; a broken pipe is not an error.

    Args:
        end: ends the process with an error's exit code. At once, unless told otherwise: native threads
            (codecs, runtimes) that hang must not hold the process, its supervisor is waiting.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names of files need not be text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command()
    except VeilError as error:
        complain(error, program)
        sys.stdout.flush()
        sys.stderr.flush()
        end(error.exit_code)
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)
