"""Who may do what. Every route names what it needs; every access is written down before it is answered."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request
from sqlalchemy import insert
from starlette.concurrency import run_in_threadpool

from veil_fleet.roles import Permission
from veil_fleet.store.engine import writing
from veil_fleet.store.tables import Access
from veil_fleet.users import Account, account_of
from veil_fleet.web.house import House, house_of
from veil_fleet.web.sessions import Session

_SAFE_METHODS: Final = {"GET", "HEAD"}
_STRANGERS = "strangers"


class SignInError(Exception):
    """Nobody is signed in."""


class ForbiddenError(Exception):
    """Whoever is signed in may not.

    Attributes:
        reason: for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks."""

    account: Account
    session: Session

    def may(self, permission: str) -> bool:
        return permission in self.account.role.permissions


class Needs:
    """A dependency that lets through who has `permission`; without one, everybody.

    It finds the session, asks the database whether the user is still in (a disabled one is out at once),
    compares the form's token where something is changed, and writes the access down, allowed or not. Raises
    SignInError and ForbiddenError.
    """

    def __init__(self, permission: Permission | None, action: str) -> None:
        self.permission = permission
        self.action = action

    async def __call__(self, request: Request) -> Visitor | None:
        if request.method not in _SAFE_METHODS and _is_foreign(request):
            raise ForbiddenError("This form was sent by another site.")
        if self.permission is None:
            return None
        token = ""
        if request.method not in _SAFE_METHODS:
            token = str((await request.form(max_files=0, max_fields=50)).get("csrf", ""))
        visitor = await run_in_threadpool(self._admit, request, token)
        request.state.visitor = visitor
        return visitor

    def _admit(self, request: Request, token: str) -> Visitor:
        house = house_of(request)
        visitor = visitor_of(request)
        if visitor is None:
            if house.strangers.take(_STRANGERS):
                write_access(house, request, "", self.action, allowed=False)
            raise SignInError
        reason = ""
        if self.permission not in visitor.account.role.permissions:
            reason = f"The role {visitor.account.role} may not do this."
        elif request.method not in _SAFE_METHODS and not _same(token, visitor.session.csrf):
            reason = "This form is not of your session. Go back, load the page again and send it again."
        write_access(house, request, visitor.account.name, self.action, allowed=not reason)
        if reason:
            raise ForbiddenError(reason)
        return visitor


def needs(permission: Permission | None, action: str) -> Needs:
    """For `dependencies=[Depends(...)]` of a route; `action` is what the list of accesses says."""
    return Needs(permission, action)


def _visitor(request: Request) -> Visitor:
    visitor = request.state.visitor
    if not isinstance(visitor, Visitor):
        raise TypeError("a public route has no visitor")
    return visitor


CurrentVisitor = Annotated[Visitor, Depends(_visitor)]


def cookie_name(request: Request) -> str:
    """A browser takes a `__Host-` cookie over TLS alone, and from no other host."""
    return "__Host-veil" if is_secure(request) else "veil"


def is_secure(request: Request) -> bool:
    """Whether cookies are for TLS alone: always, but for plain HTTP on this machine."""
    return request.url.scheme == "https" or not _is_loopback(request.url.hostname or "")


def visitor_of(request: Request) -> Visitor | None:
    """Who is signed in and still may be; reads the database."""
    house = house_of(request)
    session = house.sessions.find(request.cookies.get(cookie_name(request)))
    if session is None:
        return None
    with house.engine.connect() as connection:
        account = account_of(connection, session.user)
    if account is None or account.fingerprint != session.fingerprint:
        house.sessions.end(session)
        return None
    return Visitor(account, session)


def write_access(
    house: House, request: Request, user: str, action: str, *, allowed: bool, target: str = ""
) -> None:
    """One row of the list of accesses; what cannot be written down does not happen.

    `target`: what it was about, where the URL does not say it.
    """
    if not target:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    row = {
        "time_ms": house.now_ms(),
        "user": printable(user, 64),
        "address": printable(address_of(request), 64),
        "action": action,
        "target": printable(target, 255),
        "allowed": allowed,
    }
    with writing(house.engine) as connection:
        connection.execute(insert(Access).values(row))


def address_of(request: Request) -> str:
    """Of the visitor, as the server knows it (behind a proxy: as that says)."""
    return request.client.host if request.client else ""


def printable(text: str, length: int) -> str:
    """Without what a database or a terminal cannot take."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[:length])


def local_path(path: str) -> str:
    """`path` where it stays on this site, otherwise the first page."""
    parts = urlsplit(path) if path.isprintable() and "\\" not in path else None
    if parts is None or parts.scheme or parts.netloc or not path.startswith("/") or path.startswith("//"):
        return "/"
    return path


def _is_foreign(request: Request) -> bool:
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
