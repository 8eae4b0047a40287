"""The overview, and the page of one box; both live."""

from __future__ import annotations

import json
from hashlib import sha256

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from veil_fleet.roles import Permission
from veil_fleet.web.access import CurrentVisitor, needs, printable
from veil_fleet.web.box import Box, read_box, read_events
from veil_fleet.web.house import House, house_of
from veil_fleet.web.live import stream
from veil_fleet.web.names import DeviceName
from veil_fleet.web.overview import Filter, Overview, Sort, read_overview, read_sites
from veil_fleet.web.page_commands import can_command
from veil_fleet.web.plot import Line, draw
from veil_fleet.web.points import Point, Span, read_points
from veil_fleet.web.ranges import field_value, last_day
from veil_fleet.web.show import show
from veil_fleet.web.standing import Standing
from veil_fleet.web.values import Value, Values

router = APIRouter()


def _filter(request: Request) -> Filter:
    return Filter.parse({key: printable(value, 100) for key, value in request.query_params.items()})


def _names(overview: Overview) -> str:
    """Changes when other boxes belong on the page."""
    return sha256("\n".join(sorted(row.name for row in overview.rows)).encode()).hexdigest()[:16]


@router.get("/", dependencies=[Depends(needs(Permission.VIEW, "boxes"))])
def boxes(request: Request) -> Response:
    house, wanted = house_of(request), _filter(request)
    with house.engine.connect() as connection:
        overview = read_overview(connection, wanted, house.now_ms())
        sites = read_sites(connection)
    return show(
        request,
        "boxes.html",
        wanted=wanted,
        overview=overview,
        values=overview.values(),
        names=_names(overview),
        sites=sites,
        standings=list(Standing),
        sorts=list(Sort),
    )


@router.get("/live/boxes", dependencies=[Depends(needs(Permission.VIEW, "boxes, live"))])
async def live_boxes(request: Request, visitor: CurrentVisitor) -> Response:
    house, wanted = house_of(request), _filter(request)

    def read() -> Values:
        with house.engine.connect() as connection:
            overview = read_overview(connection, wanted, house.now_ms())
        return overview.values() | {"names": Value(_names(overview))}

    return stream(request, visitor, f"boxes {json.dumps(wanted.query(), sort_keys=True)}", read)


def _box(house: House, device: str) -> Box:
    with house.engine.connect() as connection:
        found = read_box(connection, device, house.now_ms())
    if found is None:
        raise HTTPException(404, f"There is no box {device}.")
    return found


@router.get("/boxes/{device}", dependencies=[Depends(needs(Permission.VIEW, "box"))])
def box(request: Request, device: DeviceName, span: str = "1h") -> Response:
    house, chosen = house_of(request), Span.parse(span)
    found, now_ms = _box(house, device), house.now_ms()
    start, end = last_day(now_ms)
    with house.engine.connect() as connection:
        events = read_events(connection, found)
        points = read_points(connection, device, chosen, now_ms)
    plots = {camera: _plots(camera, made, chosen, now_ms) for camera, made in points.items()}
    return show(
        request,
        "box.html",
        box=found,
        values=found.values(),
        events=events,
        points=points,
        plots=plots,
        span=chosen,
        spans=list(Span),
        commands=can_command(house.settings),
        start=field_value(start),
        end=field_value(end),
    )


@router.get("/live/boxes/{device}", dependencies=[Depends(needs(Permission.VIEW, "box, live"))])
async def live_box(request: Request, visitor: CurrentVisitor, device: DeviceName) -> Response:
    house = house_of(request)
    await run_in_threadpool(_box, house, device)

    def read() -> Values:
        with house.engine.connect() as connection:
            found = read_box(connection, device, house.now_ms())
        return found.values() if found else {}

    return stream(request, visitor, f"box {device}", read)


def _plots(camera: str, points: list[Point], span: Span, now_ms: int) -> list[dict[str, object]]:
    last_ms = now_ms - now_ms % span.step_ms
    first_ms = last_ms - span.length_ms
    wanted = (
        ("Frames a second", ("in", "fps_in"), ("out", "fps_out")),
        ("Milliseconds", ("latency p99", "latency_ms"), ("detector p50", "detector_ms")),
        ("Frames dropped and hidden", ("dropped", "dropped"), ("hidden as a whole", "covers")),
    )
    return [
        {
            "title": title,
            "legend": [name for name, _ in lines],
            "svg": draw(
                f"{title} of {camera}, last {span.words}",
                [
                    Line(name, [(point.time_ms, getattr(point, key)) for point in points])
                    for name, key in lines
                ],
                first_ms,
                last_ms,
                span.step_ms,
            ),
        }
        for title, *lines in wanted
    ]
