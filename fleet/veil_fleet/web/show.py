"""Templates: how values become HTML. Everything is escaped; nothing that a box says becomes markup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from veil import __version__
from veil_fleet.roles import Permission
from veil_fleet.web.access import Visitor
from veil_fleet.web.house import HERE, house_of
from veil_fleet.web.values import NOTHING, Value

STATIC: Final = HERE / "static"


def make_templates() -> Jinja2Templates:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    environment.filters["number"] = number
    environment.filters["size"] = size
    environment.filters["query"] = query
    environment.filters["words"] = words
    environment.globals["place"] = place
    environment.globals["asset"] = asset
    environment.globals["version"] = __version__
    environment.globals["Permission"] = Permission
    return Jinja2Templates(env=environment)


def show(request: Request, name: str, *, status: int = 200, **context: Any) -> Response:
    """The page `name`. `visitor` is None where nobody is signed in."""
    house = house_of(request)
    visitor = getattr(request.state, "visitor", None)
    context |= {
        "visitor": visitor,
        "csrf": visitor.session.csrf if isinstance(visitor, Visitor) else "",
        "now_ms": house.now_ms(),
    }
    return house.templates.TemplateResponse(request, name, context, status_code=status)


def place(key: str, values: Mapping[str, Value]) -> Markup:
    """A place on the page that the script keeps up to date."""
    value = values.get(key, NOTHING)
    at = "" if value.at_ms is None else f' data-at="{value.at_ms}" title="{escape(utc(value.at_ms))}"'
    text = value.text if value.at_ms is None else ago(value.at_ms)
    parts = f'data-live="{escape(key)}" data-state="{escape(value.state)}"{at}>{escape(text)}'
    return Markup(f"<span {parts}</span>")  # noqa: S704  each part is escaped


def utc(time_ms: int) -> str:
    """`2026-11-21 12:00:00 UTC`; what no calendar holds stays a number."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return str(time_ms)


def ago(time_ms: int) -> str:
    """Without a script the page shows when, not how long ago: that stays true."""
    return utc(time_ms)[11:].removesuffix(" UTC") or str(time_ms)


def moment(time_ms: int | None) -> Markup:
    """A `<time>`."""
    if time_ms is None:
        return Markup("–")
    text = utc(time_ms)
    return Markup(f'<time datetime="{escape(text[:19].replace(" ", "T"))}Z">{escape(text)}</time>')  # noqa: S704


def number(value: int) -> str:
    return f"{value:,}"


def size(count: int) -> str:
    """Bytes, for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    raise AssertionError(count)


def query(parameters: Mapping[str, str | int]) -> str:
    """`?a=b`, or nothing."""
    return f"?{urlencode(parameters)}" if parameters else ""


def words(name: str) -> str:
    """`segment_closed` -> `segment closed`."""
    return name.replace("_", " ")


_ASSETS: dict[str, str] = {}


def asset(name: str) -> str:
    """The address of a static file; it changes with its content, so that browsers may keep it."""
    if name not in _ASSETS:
        _ASSETS[name] = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={_ASSETS[name]}"
