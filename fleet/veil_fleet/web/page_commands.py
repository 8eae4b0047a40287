"""Commands to boxes, for operators: ping, reload, restart of a camera, snapshot, manifest."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from veil.errors import CommandError, EvidenceError, LinkError, UsageError, VeilError
from veil.messages.command import Command, Result, SegmentProof
from veil_fleet.commands import KEY_FILE, Operator
from veil_fleet.roles import Permission
from veil_fleet.settings import FleetSettings
from veil_fleet.web.access import CurrentVisitor, needs, write_access
from veil_fleet.web.house import house_of
from veil_fleet.web.names import CameraName, DeviceName
from veil_fleet.web.ranges import parse_time
from veil_fleet.web.show import show

router = APIRouter()
_TIMEOUT_S: Final = 15.0
_MANIFEST_S: Final = 60.0
"""All pages of a manifest together."""

_Answer = TypeVar("_Answer")


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


@router.post("/boxes/{device}/reload", dependencies=[Depends(needs(Permission.OPERATE, "reload"))])
async def reload(request: Request, device: DeviceName) -> Response:
    """The box reads its configuration again; a faulty one changes nothing, and the page says why."""
    answer = await _ask(request, device, Command.RELOAD, None)
    if isinstance(answer, VeilError):
        return _failed(request, device, answer)
    cameras = ", ".join(answer.restarted or ())
    text = f"These cameras restart with it: {cameras}." if cameras else "No camera had to restart."
    return _done(request, device, f"{device} has read its configuration", text)


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


@router.post(
    "/boxes/{device}/cameras/{camera}/manifest", dependencies=[Depends(needs(Permission.OPERATE, "manifest"))]
)
async def manifest(
    request: Request, device: DeviceName, camera: CameraName, visitor: CurrentVisitor
) -> Response:
    """A file with the lines of the segments in a range, as they stand in the box's own log."""
    sent = await request.form()
    start, end = (parse_time(str(sent.get(key, ""))) for key in ("from", "to"))
    if start is None or end is None or start >= end:
        problem = UsageError("Two times are needed, the earlier one first, like 2026-11-21T08:00 (UTC).")
        return _failed(request, device, problem, status=400)

    async def fetch(operator: Operator) -> list[SegmentProof]:
        try:
            async with asyncio.timeout(_MANIFEST_S):
                return await operator.manifest(device, camera, start, end)
        except TimeoutError:
            raise CommandError(
                f"{device} has not told of all its segments within {_MANIFEST_S:g} s.",
                hint="Ask for a shorter range.",
            ) from None

    answer = await _as_operator(request, fetch)
    if isinstance(answer, VeilError):
        return _failed(request, device, answer)
    # Which evidence left, beside the access itself.
    target = f"{device} {camera} {start} {end}"
    await run_in_threadpool(
        write_access,
        house_of(request),
        request,
        visitor.account.name,
        "manifest",
        allowed=True,
        target=target,
    )
    name = f"veil-{device}-{camera}-{start[:16].replace(':', '')}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    lines = "".join(f"{proof.line}\n" for proof in answer)
    return Response(lines, media_type="application/x-ndjson", headers=headers)


async def _ask(request: Request, device: str, command: Command, camera: str | None) -> Result | VeilError:
    return await _as_operator(request, lambda operator: operator.ask(device, command, camera))


async def _as_operator(
    request: Request, work: Callable[[Operator], Awaitable[_Answer]]
) -> _Answer | VeilError:
    house = house_of(request)
    if house.commands.full:
        return CommandError("Too many commands are under way.", hint="Try again in a moment.")
    try:
        async with house.commands.passage():
            return await work(await run_in_threadpool(Operator.open, house.settings, _TIMEOUT_S))
    except (CommandError, LinkError, EvidenceError, UsageError) as error:
        return error


def _jpeg(encoded: str | None) -> str | None:
    """Base64 of a JPEG, written anew; None for anything else."""
    try:
        raw = base64.b64decode(encoded or "", validate=True)
    except binascii.Error:
        return None
    return base64.b64encode(raw).decode() if raw.startswith(b"\xff\xd8\xff") else None


def _failed(request: Request, device: str, error: VeilError, *, status: int = 502) -> Response:
    return show(
        request,
        "answer.html",
        status=status,
        device=device,
        heading="The box did not do it",
        text=str(error),
        picture=None,
    )


def _done(request: Request, device: str, heading: str, text: str, picture: str | None = None) -> Response:
    return show(request, "answer.html", device=device, heading=heading, text=text, picture=picture)
