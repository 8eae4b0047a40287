"""`veil-fleet command DEVICE …` and `veil-fleet command-key`."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from veil.audit.note import ED25519, SigningKey
from veil.errors import CommandError, UsageError
from veil.messages.command import Arguments, Command, Result
from veil_fleet.commands import KEY_FILE, OperatorLink, fetch_manifest, make_body, operator_link, send
from veil_fleet.keyfile import make_key, read_key
from veil_fleet.settings import load_settings

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
    link: OperatorLink
    key: SigningKey
    timeout_s: float

    def ask(self, command: Command, camera: str | None = None) -> Result:
        try:
            body = make_body(self.device, command, Arguments(camera=camera), time.time_ns())
        except ValidationError:
            raise UsageError("That is no name of a box or of a camera.") from None
        return asyncio.run(send(self.link, body, self.key, self.timeout_s))


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
    settings = load_settings(config)
    key = read_key(settings.folder / KEY_FILE, ED25519)
    context.obj = _Asked(device, operator_link(settings), key, timeout)


@commands.command()
def ping(context: typer.Context) -> None:
    """Whether the box answers, and which version it runs."""
    began = time.monotonic()
    result = _asked(context).ask(Command.PING)
    print(f"{_asked(context).device}: {result.version} ({(time.monotonic() - began) * 1000:.0f} ms)")


@commands.command()
def reload(context: typer.Context) -> None:
    """Read the configuration again; cameras whose part changed are restarted."""
    restarted = _asked(context).ask(Command.RELOAD).restarted or ()
    print(f"restarted: {', '.join(restarted)}" if restarted else "nothing to restart")


@commands.command("restart-camera")
def restart_camera(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Name of the camera.")]
) -> None:
    """End a camera's process; its supervisor starts it again."""
    _asked(context).ask(Command.RESTART_CAMERA, name)
    print(f"{name} is asked to restart")


@commands.command()
def snapshot(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the camera.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the JPEG; one that is there is kept.")],
) -> None:
    """The camera's newest masked picture. The box logs the access."""
    result = _asked(context).ask(Command.SNAPSHOT, name)
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
    try:
        segments = asyncio.run(
            fetch_manifest(
                asked.link, asked.device, name, _time(start), _time(end), asked.key, asked.timeout_s
            )
        )
    except ValidationError:
        raise UsageError("That is no name of a box or of a camera.") from None
    for segment in segments:
        print(segment.line)


def command_key(config: ConfigOption = None) -> None:
    """Print the command key's public part, for fleet.command_keys of the boxes; made where there is none."""
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
