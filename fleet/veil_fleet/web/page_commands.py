"""Commands to boxes, for operators: ping, snapshot, restart of a camera."""

from __future__ import annotations

import base64
import binascii
import time
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from veil.audit.note import ED25519
from veil.errors import CommandError, EvidenceError, LinkError, UsageError, VeilError
from veil.messages.command import Arguments, Command, Result
from veil_fleet.broker import OPERATOR
from veil_fleet.cli_commands import KEY_FILE
from veil_fleet.commands import OperatorLink, make_body, operator_tls, send
from veil_fleet.keyfile import read_key
from veil_fleet.settings import FleetSettings
from veil_fleet.users import Permission
from veil_fleet.web.access import needs
from veil_fleet.web.house import house_of
from veil_fleet.web.names import CameraName, DeviceName
from veil_fleet.web.show import show

router = APIRouter()
_TIMEOUT_S: Final = 15.0


def can_command(settings: FleetSettings) -> bool:
    """Whether there is a key to sign commands with."""
    return (settings.folder / KEY_FILE).exists()


@router.post("/boxes/{device}/ping", dependencies=[Depends(needs(Permission.OPERATE, "ping"))])
async def ping(request: Request, device: DeviceName) -> Response:
    began = time.monotonic()
    answer = await _ask(request, device, Command.PING, None)
    if isinstance(answer, VeilError):
        return _failed(request, device, answer)
    took_ms = (time.monotonic() - began) * 1000
    return _done(request, device, f"{device} answers", f"Version {answer.version}, after {took_ms:.0f} ms.")


@router.post(
    "/boxes/{device}/cameras/{camera}/restart",
    dependencies=[Depends(needs(Permission.OPERATE, "restart camera"))],
)
async def restart(request: Request, device: DeviceName, camera: CameraName) -> Response:
    answer = await _ask(request, device, Command.RESTART_CAMERA, camera)
    if isinstance(answer, VeilError):
        return _failed(request, device, answer)
    return _done(request, device, f"{camera} restarts", "Its viewers see the slate until it is back.")


@router.post(
    "/boxes/{device}/cameras/{camera}/snapshot", dependencies=[Depends(needs(Permission.OPERATE, "snapshot"))]
)
async def snapshot(request: Request, device: DeviceName, camera: CameraName) -> Response:
    """The newest masked picture. The box writes the access into its log."""
    answer = await _ask(request, device, Command.SNAPSHOT, camera)
    if isinstance(answer, VeilError):
        return _failed(request, device, answer)
    picture = _jpeg(answer.jpeg)
    if picture is None:
        return _failed(request, device, CommandError("The box sent no picture."))
    text = "As it was recorded: hidden before anything was stored or sent. The box has logged this access."
    return _done(request, device, f"{camera}, just now", text, picture)


async def _ask(request: Request, device: str, command: Command, camera: str | None) -> Result | VeilError:
    house = house_of(request)
    if house.commands.full:
        return CommandError("Too many commands are under way.", hint="Try again in a moment.")
    try:
        async with house.commands.passage():
            key = await run_in_threadpool(read_key, house.settings.folder / KEY_FILE, ED25519)
            link = await run_in_threadpool(_link, house.settings)
            body = make_body(device, command, Arguments(camera=camera), time.time_ns())
            return await send(link, body, key, _TIMEOUT_S)
    except (CommandError, LinkError, EvidenceError) as error:
        return error
    except ValidationError:
        return UsageError("That is no name of a box or of a camera.")


def _link(settings: FleetSettings) -> OperatorLink:
    broker, folder = settings.broker, settings.folder
    tls = None
    if broker.tls == "on":
        tls = operator_tls(
            settings.resolved(broker.ca), folder / f"{OPERATOR}.pem", folder / f"{OPERATOR}.key"
        )
    return OperatorLink(broker.host, broker.port, tls)


def _jpeg(encoded: str | None) -> str | None:
    """Base64 of a JPEG, written anew; None for anything else."""
    try:
        raw = base64.b64decode(encoded or "", validate=True)
    except binascii.Error:
        return None
    return base64.b64encode(raw).decode() if raw.startswith(b"\xff\xd8\xff") else None


def _failed(request: Request, device: str, error: VeilError) -> Response:
    return show(
        request,
        "answer.html",
        status=502,
        device=device,
        heading="The box did not do it",
        text=str(error),
        picture=None,
    )


def _done(request: Request, device: str, heading: str, text: str, picture: str | None = None) -> Response:
    return show(request, "answer.html", device=device, heading=heading, text=text, picture=picture)
