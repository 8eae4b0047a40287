"""The export of audit bundles."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from veil.errors import UsageError
from veil_fleet.evidence_export import Wanted, export
from veil_fleet.roles import Permission
from veil_fleet.store.tables import Device
from veil_fleet.web.access import CurrentVisitor, needs, printable, write_access
from veil_fleet.web.house import house_of
from veil_fleet.web.names import is_name
from veil_fleet.web.ranges import field_value, last_day, parse_time
from veil_fleet.web.show import show
from veil_fleet.witness_keys import witness_keys

router = APIRouter()
_AT_ONCE: Final = 4
_places = threading.BoundedSemaphore(_AT_ONCE)


@router.get("/export", dependencies=[Depends(needs(Permission.AUDIT, "export page"))])
def form(request: Request) -> Response:
    start, end = last_day(house_of(request).now_ms())
    return _form(request, printable(request.query_params.get("device", ""), 32), start, end)


@router.post("/export", dependencies=[Depends(needs(Permission.AUDIT, "export"))])
async def bundle(request: Request, visitor: CurrentVisitor) -> Response:
    """A zip, made while it is sent. 503 where too many are being made."""
    sent = await request.form()
    device = printable(str(sent.get("device", "")).strip(), 32)
    start, end = (parse_time(str(sent.get(key, ""))) for key in ("from", "to"))
    return await run_in_threadpool(_bundle, request, visitor.account.name, device, start, end)


def _bundle(request: Request, user: str, device: str, start: str | None, end: str | None) -> Response:
    house = house_of(request)
    day_ago, now = last_day(house.now_ms())
    if not is_name(device) or start is None or end is None or start > end:
        problem = "Name a box and two times, the earlier one first."
        return _form(request, device, start or day_ago, end or now, status=400, problem=problem)
    wanted = Wanted(device, start, end, house.now_ms())
    try:
        pieces = export(house.engine, wanted, witness_keys(house.settings))
    except UsageError as error:
        return _form(request, device, start, end, status=404, problem=str(error))
    if not _places.acquire(blocking=False):
        return _form(
            request, device, start, end, status=503, problem="Too many exports are running. Try again soon."
        )
    held = ExitStack()
    held.callback(_places.release)
    with held:
        # Which evidence left, beside the access itself.
        write_access(house, request, user, "export", allowed=True, target=f"{device} {start} {end}")
        held = held.pop_all()
    headers = {"Content-Disposition": f'attachment; filename="{wanted.name}.zip"'}
    return _Sending(held, pieces, media_type="application/zip", headers=headers)


class _Sending(StreamingResponse):
    """Gives its place back even where not one piece was read."""

    def __init__(self, held: ExitStack, pieces: Iterator[bytes], **options: Any) -> None:
        super().__init__(pieces, **options)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


def _form(
    request: Request, device: str, start: str, end: str, *, status: int = 200, problem: str = ""
) -> Response:
    with house_of(request).engine.connect() as connection:
        devices = list(connection.scalars(select(Device.name).order_by(Device.name).limit(1000)))
    return show(
        request,
        "export.html",
        status=status,
        device=device,
        devices=devices,
        start=field_value(start),
        end=field_value(end),
        problem=problem,
    )
