"""`veil-fleet command DEVICE …` and `veil-fleet command-key`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veil.errors import CommandError, UsageError

if TYPE_CHECKING:
    from veil.messages.command import Result
    from veil_fleet.commands import Operator

_DEFAULT_TIMEOUT_S = 20.0

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file of the fleet manager.")
]

commands = typer.Typer(
    name="command",
    help="Ask a box for something: signed with the fleet's command key, answered over MQTT.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Adds `command` and `command-key`."""
    app.add_typer(commands)
    app.command("command-key")(command_key)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What all commands have in common."""

    device: str
    operator: Operator

    def ask(self, command: str, camera: str | None = None) -> Result:
        from veil.messages.command import Command

        return asyncio.run(self.operator.ask(self.device, Command(command), camera))


@commands.callback()
def _common(
    context: typer.Context,
    device: Annotated[str, typer.Argument(help="Name of the box.")],
    config: ConfigOption = None,
    timeout: Annotated[
        float, typer.Option(min=1, max=300, help="Seconds to wait for the answer.")
    ] = _DEFAULT_TIMEOUT_S,
) -> None:
    if context.resilient_parsing:
        return
    from veil_fleet.commands import Operator
    from veil_fleet.settings import load_settings

    context.obj = _Asked(device, Operator.open(load_settings(config), timeout))


@commands.command()
def ping(context: typer.Context) -> None:
    """Whether the box answers, and which version it runs."""
    began = time.monotonic()
    result = _asked(context).ask("ping")
    print(f"{_asked(context).device}: {result.version} ({(time.monotonic() - began) * 1000:.0f} ms)")


@commands.command()
def reload(context: typer.Context) -> None:
    """Read the configuration again; cameras whose part changed are restarted."""
    restarted = _asked(context).ask("reload").restarted or ()
    print(f"restarted: {', '.join(restarted)}" if restarted else "nothing to restart")


@commands.command("restart-camera")
def restart_camera(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Name of the camera.")]
) -> None:
    """End a camera's process; its supervisor starts it again."""
    _asked(context).ask("restart_camera", name)
    print(f"{name} is asked to restart")


@commands.command()
def snapshot(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the camera.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the JPEG; one that is there is kept.")],
) -> None:
    """The camera's newest masked picture. The box logs the access."""
    result = _asked(context).ask("snapshot", name)
    try:
        picture = base64.b64decode(result.jpeg or "", validate=True)
    except binascii.Error:
        raise CommandError("The box sent no picture.") from None
    try:
        with out.open("xb") as file:
            file.write(picture)
    except FileExistsError:
        raise UsageError(f"{out} is there already.", hint="Name another file.") from None
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error
    print(f"{out}: {len(picture)} bytes")


@commands.command()
def manifest(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the camera.")],
    start: Annotated[str, typer.Option("--from", help="Time (RFC 3339): 2026-11-21T08:00:00Z.")],
    end: Annotated[str, typer.Option("--to", help="Time (RFC 3339).")],
) -> None:
    """The events of the segments in a time range, one a line as in the log. The box logs the access."""
    asked = _asked(context)
    for segment in asyncio.run(asked.operator.manifest(asked.device, name, _time(start), _time(end))):
        print(segment.line)


def command_key(config: ConfigOption = None) -> None:
    """Print the command key's public part, for fleet.command_keys of the boxes; made where there is none."""
    from veil.audit.note import ED25519
    from veil_fleet.commands import KEY_FILE
    from veil_fleet.keyfile import make_key
    from veil_fleet.settings import load_settings

    settings = load_settings(config)
    if not settings.folder.is_dir():
        raise UsageError(f"{settings.folder} is no folder.", hint="Make one with: veil-fleet init")
    path = settings.folder / KEY_FILE
    try:
        key = make_key(path, f"veil-fleet/{settings.broker.host}/command", ED25519)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    print(key.verifier)


def _asked(context: typer.Context) -> _Asked:
    asked: _Asked = context.obj
    return asked


def _time(text: str) -> str:
    """As messages have it: UTC with microseconds. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no time.", hint="Like 2026-11-21T08:00:00Z.") from None
    if moment.tzinfo is None:
        raise UsageError(f"{text[:40]!r} has no time zone.", hint="Add Z, or +01:00.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
