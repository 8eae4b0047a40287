"""The application: `create_app(settings)` is what `veil-fleet serve` runs."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Scope

from veil.errors import EvidenceError
from veil_fleet import users
from veil_fleet.settings import FleetSettings
from veil_fleet.store.engine import open_engine
from veil_fleet.web import (
    page_accesses,
    page_alarms,
    page_boxes,
    page_commands,
    page_export,
    page_health,
    page_segments,
    page_sign_in,
)
from veil_fleet.web.access import ForbiddenError, Needs, SignInError
from veil_fleet.web.guards import Guards, secure_headers
from veil_fleet.web.house import House
from veil_fleet.web.live import Live, TooManyStreamsError
from veil_fleet.web.sessions import Sessions
from veil_fleet.web.show import STATIC, make_templates, show

_LOG = logging.getLogger(__name__)

_PAGES = (
    page_sign_in,
    page_boxes,
    page_commands,
    page_alarms,
    page_segments,
    page_export,
    page_accesses,
    page_health,
)


class _Assets(StaticFiles):
    """Files whose address changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def create_app(settings: FleetSettings, engine: Engine | None = None) -> FastAPI:
    """The fleet's page. The schema must be up to date (`store.schema.migrate`).

    Args:
        engine: to share one; without it one is opened, and closed when the application ends.
    """
    shared = engine or open_engine(settings, application="veil-fleet-web")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(users.prepare)
        yield
        app.state.live.close()
        if engine is None:
            shared.dispose()

    for route in routes():
        needs_of(route)
    app = FastAPI(
        title="Veil Fleet",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(_is_said)],
    )
    app.state.house = House(
        settings=settings,
        engine=shared,
        templates=make_templates(),
        sessions=Sessions(time.monotonic, settings.web.session_hours * 3600.0),
    )
    app.state.live = Live()
    app.add_middleware(Guards)
    app.mount("/static", _Assets(directory=STATIC), name="static")
    for page in _PAGES:
        app.include_router(page.router)
    _answer_errors(app)
    return app


def needs_of(route: APIRoute) -> Needs:
    """What a route needs. Raises ValueError for one that does not say it: nothing is open by oversight."""
    found = [each.call for each in route.dependant.dependencies if isinstance(each.call, Needs)]
    if len(found) != 1:
        raise ValueError(f"route {route.path} must say once what it needs")
    return found[0]


def routes() -> list[APIRoute]:
    """Of all pages."""
    return [route for page in _PAGES for route in page.router.routes if isinstance(route, APIRoute)]


async def _is_said(request: Request) -> None:
    """A route that came in another way must say it too."""
    needs_of(request.scope["route"])


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(SignInError)
    async def sign_in(request: Request, error: SignInError) -> Response:
        del error
        if request.method == "GET" and not request.url.path.startswith("/live/"):
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?{urlencode({'next': target})}", 303)
        return _message(request, 401, "Signed out", "Sign in again, then repeat what you wanted to do.")

    @app.exception_handler(ForbiddenError)
    async def forbidden(request: Request, error: ForbiddenError) -> Response:
        return _message(request, 403, "Not allowed", error.reason)

    @app.exception_handler(TooManyStreamsError)
    async def busy(request: Request, error: TooManyStreamsError) -> Response:
        del request, error
        return PlainTextResponse("Too many live pages are open.\n", 503, {"Retry-After": "30"})

    @app.exception_handler(EvidenceError)
    async def evidence(request: Request, error: EvidenceError) -> Response:
        return _message(request, 409, "The evidence does not hold", str(error))

    @app.exception_handler(SQLAlchemyError)
    async def database(request: Request, error: SQLAlchemyError) -> Response:
        _LOG.warning("the database does not answer: %s", type(error).__name__)
        return _message(request, 503, "The database does not answer", "Try again in a moment.")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        heading = "Not found" if error.status_code == 404 else "This cannot be answered"
        return _message(request, error.status_code, heading, str(error.detail))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        del error  # the server logs it, with its trace
        response = _message(request, 500, "Something went wrong", "It was written to the server's log.")
        secure_headers(response.headers, request.url.scheme)
        return response


def _message(request: Request, status: int, heading: str, text: str) -> Response:
    if request.url.path.startswith("/live/"):
        return PlainTextResponse(f"{heading}\n", status)
    return show(request, "message.html", status=status, heading=heading, text=text)
