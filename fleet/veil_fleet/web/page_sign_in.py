"""Signing in and out."""

from __future__ import annotations

import hmac
import math
import secrets
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from veil_fleet.roles import Permission
from veil_fleet.users import MAX_PASSWORD, Account, authenticate
from veil_fleet.web.access import (
    CurrentVisitor,
    address_of,
    cookie_name,
    is_secure,
    local_path,
    needs,
    printable,
    visitor_of,
    write_access,
)
from veil_fleet.web.house import House, house_of
from veil_fleet.web.show import show
from veil_fleet.web.throttle import network_of

router = APIRouter()

_FORM_COOKIE: Final = "veil-form"
_FORM_S: Final = 3600


@router.get("/login", dependencies=[Depends(needs(None, "sign in page"))])
def form(request: Request, next: str = "/") -> Response:
    if visitor_of(request) is not None:
        return RedirectResponse(local_path(next), 303)
    return _form(request, next)


@router.post("/login", dependencies=[Depends(needs(None, "sign in"))])
async def sign_in(request: Request) -> Response:
    """429 after too many wrong tries, of a name or from an address; 401 where name or password is wrong."""
    house = house_of(request)
    sent = await request.form(max_files=0, max_fields=20)
    name, password, onward, token = (str(sent.get(key, "")) for key in ("name", "password", "next", "token"))
    name = printable(name, 64)
    nonce = request.cookies.get(_FORM_COOKIE, "")
    if not nonce or not hmac.compare_digest(
        token.encode(errors="replace"), house.sessions.form_token(nonce).encode()
    ):
        return _form(request, onward, status=400, problem="The form was too old. Please try again.")
    address = network_of(address_of(request))
    wait_s = max(house.by_name.wait_s(name.casefold()), house.by_address.wait_s(address))
    if wait_s > 0 or house.passwords.full:
        return await _refused(request, name, onward, wait_s)
    # Taken before the password is looked at: tries that run at once count too.
    house.by_name.take(name.casefold())
    house.by_address.take(address)
    account = await _check(house, name, password)
    await run_in_threadpool(
        write_access,
        house,
        request,
        account.name if account else name,
        "sign in",
        allowed=account is not None,
    )
    if account is None:
        return _form(request, onward, status=401, problem="Name and password do not fit.")
    house.by_name.forget(name.casefold())
    house.by_address.give_back(address)
    old = house.sessions.find(request.cookies.get(cookie_name(request)))
    if old is not None:
        house.sessions.end(old)
    _, cookie = house.sessions.start(account)
    response = RedirectResponse(local_path(onward), 303)
    response.set_cookie(
        cookie_name(request), cookie, httponly=True, secure=is_secure(request), samesite="strict", path="/"
    )
    response.delete_cookie(_FORM_COOKIE, path="/login")
    return response


@router.post("/logout", dependencies=[Depends(needs(Permission.VIEW, "sign out"))])
def sign_out(request: Request, visitor: CurrentVisitor) -> Response:
    house_of(request).sessions.end(visitor.session)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(
        cookie_name(request), path="/", secure=is_secure(request), httponly=True, samesite="strict"
    )
    return response


async def _check(house: House, name: str, password: str) -> Account | None:
    if len(password) > MAX_PASSWORD:
        password = ""
    async with house.passwords.passage():
        return await run_in_threadpool(authenticate, house.engine, name, password)


async def _refused(request: Request, name: str, onward: str, wait_s: float) -> Response:
    house = house_of(request)
    if house.strangers.take("sign in"):
        await run_in_threadpool(write_access, house, request, name, "sign in (too often)", allowed=False)
    minutes = max(1, math.ceil(wait_s / 60))
    response = _form(
        request, onward, status=429, problem=f"Too many tries. Please wait {minutes} min and try again."
    )
    response.headers["Retry-After"] = str(max(5, math.ceil(wait_s)))
    return response


def _form(request: Request, onward: str, *, status: int = 200, problem: str = "") -> Response:
    nonce = request.cookies.get(_FORM_COOKIE, "")
    if not 20 <= len(nonce) <= 64:
        nonce = secrets.token_urlsafe(24)
    response = show(
        request,
        "login.html",
        status=status,
        problem=problem,
        onward=local_path(onward),
        token=house_of(request).sessions.form_token(nonce),
        plain=is_secure(request) and request.url.scheme != "https",
    )
    response.set_cookie(
        _FORM_COOKIE,
        nonce,
        max_age=_FORM_S,
        httponly=True,
        secure=is_secure(request),
        samesite="strict",
        path="/login",
    )
    return response
