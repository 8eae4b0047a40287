"""Alarms: what a person must look at, with what proves it."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select, update
from starlette.concurrency import run_in_threadpool

from veil_fleet.roles import Permission
from veil_fleet.store.engine import writing
from veil_fleet.store.tables import Alarm
from veil_fleet.web.access import CurrentVisitor, needs, printable
from veil_fleet.web.house import House, house_of
from veil_fleet.web.names import AlarmId, is_name
from veil_fleet.web.show import show
from veil_fleet.web.sides import sides_of

router = APIRouter()
_PAGE: Final = 50
MAX_COMMENT: Final = 1000
_COLUMNS = [column for column in Alarm.__table__.columns if column.name != "evidence"]


@router.get("/alarms", dependencies=[Depends(needs(Permission.VIEW, "alarms"))])
def alarms(request: Request) -> Response:
    """The newest first; `before` is an id, to go on from."""
    asked = request.query_params
    state = asked.get("state", "open")
    state = state if state in {"open", "closed", "all"} else "open"
    device = printable(asked.get("device", "").strip(), 32)
    before = asked.get("before", "")
    query = select(*_COLUMNS).order_by(Alarm.id.desc()).limit(_PAGE + 1)
    if state != "all":
        query = query.where(Alarm.closed_ms.is_(None) if state == "open" else Alarm.closed_ms.is_not(None))
    if device:
        query = query.where(Alarm.device == device)
    if before.isascii() and before.isdigit() and len(before) < 16:
        query = query.where(Alarm.id < int(before))
    with house_of(request).engine.connect() as connection:
        rows = connection.execute(query).all()
    more = rows[_PAGE - 1].id if len(rows) > _PAGE else None
    return show(request, "alarms.html", rows=rows[:_PAGE], more=more, state=state, device=device)


def _found(house: House, alarm: int) -> Any:
    with house.engine.connect() as connection:
        row = connection.execute(select(Alarm.__table__).where(Alarm.id == alarm)).one_or_none()
    if row is None:
        raise HTTPException(404, "There is no such alarm.")
    return row


def _page(request: Request, alarm: int, *, status: int = 200, problem: str = "") -> Response:
    row = _found(house_of(request), alarm)
    try:
        evidence = json.loads(row.evidence or "[]")
    except (ValueError, RecursionError):
        evidence = []
    pieces = (
        [sides_of(piece) for piece in evidence[:32] if isinstance(piece, dict)]
        if isinstance(evidence, list)
        else []
    )
    return show(
        request,
        "alarm.html",
        status=status,
        alarm=row,
        pieces=pieces,
        raw=row.evidence,
        problem=problem,
        is_box=is_name(row.device),
    )


@router.get("/alarms/{alarm}", dependencies=[Depends(needs(Permission.VIEW, "alarm"))])
def alarm(request: Request, alarm: AlarmId) -> Response:
    return _page(request, alarm)


@router.post("/alarms/{alarm}/close", dependencies=[Depends(needs(Permission.OPERATE, "close alarm"))])
async def close(request: Request, alarm: AlarmId, visitor: CurrentVisitor) -> Response:
    """What was closed stays closed, with who did it and why; if it comes again it is a new alarm."""
    form = await request.form()
    comment = "".join(
        sign if sign.isprintable() or sign == "\n" else " "
        for sign in str(form.get("comment", "")).replace("\r\n", "\n").strip()
    )
    if not 3 <= len(comment) <= MAX_COMMENT:
        return await run_in_threadpool(
            _page, request, alarm, status=400, problem=f"Say why, in 3 to {MAX_COMMENT} characters."
        )
    if not await run_in_threadpool(_close, house_of(request), alarm, visitor.account.name, comment):
        return await run_in_threadpool(_page, request, alarm, status=409, problem="It is closed already.")
    return RedirectResponse(f"/alarms/{alarm}", 303)


def _close(house: House, alarm: int, user: str, comment: str) -> bool:
    with writing(house.engine) as connection:
        changed = connection.execute(
            update(Alarm)
            .where(Alarm.id == alarm, Alarm.closed_ms.is_(None))
            .values(closed_ms=house.now_ms(), closed_by=user, closed_comment=comment)
        )
    return bool(changed.rowcount)
