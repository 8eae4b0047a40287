"""Whether the page is up, for what watches the server."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from sqlalchemy import select

from veil_fleet.web.access import needs
from veil_fleet.web.house import house_of

router = APIRouter()


@router.get("/healthz", dependencies=[Depends(needs(None, "health"))])
def health(request: Request) -> Response:
    """200 where the database answers, 503 where it does not. Says nothing of the fleet."""
    with house_of(request).engine.connect() as connection:
        connection.execute(select(1))
    return PlainTextResponse("ok\n")
