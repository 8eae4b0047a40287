"""Who looked at what, for auditors."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select

from veil_fleet.roles import Permission
from veil_fleet.store.tables import Access
from veil_fleet.web.access import needs, printable
from veil_fleet.web.house import house_of
from veil_fleet.web.show import show

router = APIRouter()
_PAGE: Final = 100


@router.get("/accesses", dependencies=[Depends(needs(Permission.AUDIT, "accesses"))])
def accesses(request: Request) -> Response:
    """The newest first; `before` is an id, to go on from."""
    asked = request.query_params
    user = printable(asked.get("user", "").strip(), 64)
    before = asked.get("before", "")
    query = select(Access).order_by(Access.id.desc()).limit(_PAGE + 1)
    if user:
        query = query.where(Access.user == user)
    if asked.get("refused"):
        query = query.where(Access.allowed.is_(False))
    if before.isascii() and before.isdigit() and len(before) < 16:
        query = query.where(Access.id < int(before))
    with house_of(request).engine.connect() as connection:
        rows = connection.execute(query).all()
    return show(
        request,
        "accesses.html",
        rows=rows[:_PAGE],
        more=rows[_PAGE - 1].id if len(rows) > _PAGE else None,
        user=user,
        refused=bool(asked.get("refused")),
    )
