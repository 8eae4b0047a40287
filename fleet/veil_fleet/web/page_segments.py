"""Recordings and their evidence: found by camera and time, or by the SHA-256 of a file at hand."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from sqlalchemy import Connection, select, tuple_

from veil.audit.tree import leaf_hash
from veil.errors import EvidenceError
from veil_fleet.evidence_check import Step, check_line, failed
from veil_fleet.evidence_proofs import Proof, covering, stretch_of
from veil_fleet.roles import Permission
from veil_fleet.store.tables import Device, LogLine, Segment
from veil_fleet.web.access import needs, printable
from veil_fleet.web.house import house_of
from veil_fleet.web.names import CameraName, DeviceName, Sequence
from veil_fleet.web.ranges import earlier, field_value, last_day, parse_time
from veil_fleet.web.show import show
from veil_fleet.witness_keys import witness_keys

router = APIRouter()
_PAGE: Final = 50
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LONGEST: Final = timedelta(hours=2)
"""No segment is longer: what reaches into a range began at most so long before it."""


@dataclass(frozen=True, slots=True)
class _Asked:
    device: str
    camera: str
    start: str
    end: str
    sha256: str
    problem: str

    def query(self, **other: str) -> dict[str, str | int]:
        made = {
            "device": self.device,
            "camera": self.camera,
            "from": field_value(self.start),
            "to": field_value(self.end),
            "sha256": self.sha256,
        }
        return {key: value for key, value in (made | other).items() if value}


def _asked(request: Request) -> _Asked:
    given = {key: printable(value, 100).strip() for key, value in request.query_params.items()}
    day_ago, now = last_day(house_of(request).now_ms())
    start, end = (parse_time(given[key]) if given.get(key) else None for key in ("from", "to"))
    sha256, problem = given.get("sha256", "").lower(), ""
    if sha256 and not _SHA256.fullmatch(sha256):
        problem = "A SHA-256 has 64 hexadecimal digits."
    elif (given.get("from") and not start) or (given.get("to") and not end):
        problem = "A time is written like 2026-11-21T08:00, in UTC."
    return _Asked(
        given.get("device", "")[:32],
        given.get("camera", "")[:32],
        start or day_ago,
        end or now,
        sha256,
        problem,
    )


@router.get("/segments", dependencies=[Depends(needs(Permission.AUDIT, "segments"))])
def segments(request: Request) -> Response:
    """By SHA-256, or of one box in a range of time, the newest first."""
    asked = _asked(request)
    rows: list[Any] = []
    searched = bool((asked.device or asked.sha256) and not asked.problem)
    with house_of(request).engine.connect() as connection:
        devices = list(connection.scalars(select(Device.name).order_by(Device.name).limit(1000)))
        if searched:
            rows = _search(connection, asked, request.query_params.get("after", ""))
    more = None
    if len(rows) > _PAGE:
        last = rows[_PAGE - 1]
        more = f"{last.start}/{last.camera}/{last.seq}"
    return show(
        request,
        "segments.html",
        asked=asked,
        rows=rows[:_PAGE],
        more=more,
        searched=searched,
        devices=devices,
        start=field_value(asked.start),
        end=field_value(asked.end),
    )


def _search(connection: Connection, asked: _Asked, after: str) -> list[Any]:
    query = select(Segment.__table__).limit(_PAGE + 1)
    if asked.sha256:
        query = query.where(Segment.sha256 == asked.sha256)
    else:
        query = query.where(
            Segment.device == asked.device,
            Segment.start <= asked.end,
            Segment.start >= earlier(asked.start, _LONGEST),
            Segment.end >= asked.start,
        )
        if asked.camera:
            query = query.where(Segment.camera == asked.camera)
    match = re.fullmatch(r"([0-9TZ:.-]{1,27})/([a-z0-9_-]{1,32})/([0-9]{1,16})", after, re.ASCII)
    if match:
        query = query.where(
            tuple_(Segment.start, Segment.camera, Segment.seq) < tuple_(match[1], match[2], int(match[3]))
        )
    return list(
        connection.execute(query.order_by(Segment.start.desc(), Segment.camera.desc(), Segment.seq.desc()))
    )


@router.get("/segments/{device}/{camera}/{seq}", dependencies=[Depends(needs(Permission.AUDIT, "segment"))])
def segment(request: Request, device: DeviceName, camera: CameraName, seq: Sequence) -> Response:
    return _page(request, device, camera, seq, None)


@router.post(
    "/segments/{device}/{camera}/{seq}/verify",
    dependencies=[Depends(needs(Permission.AUDIT, "verify segment"))],
)
def verify(request: Request, device: DeviceName, camera: CameraName, seq: Sequence) -> Response:
    """Recomputes everything from what is stored."""
    house = house_of(request)
    with house.engine.connect() as connection:
        line = connection.scalar(
            select(LogLine.line).where(LogLine.device == device, LogLine.log == camera, LogLine.seq == seq)
        )
        over = covering(connection, device, camera, seq)
        if line is None:
            raise HTTPException(404, "There is no such line.")
        if over is None:
            steps = [failed("Checkpoint", "None was cosigned over this line yet. Boxes sign every minute.")]
        else:
            steps = check_line(connection, device, camera, seq, line, over, witness_keys(house.settings))
    return _page(request, device, camera, seq, steps)


def _page(request: Request, device: str, camera: str, seq: int, steps: list[Step] | None) -> Response:
    proof: Proof | None = None
    problem = ""
    with house_of(request).engine.connect() as connection:
        row = connection.execute(
            select(Segment.__table__).where(
                Segment.device == device, Segment.camera == camera, Segment.seq == seq
            )
        ).one_or_none()
        line = connection.execute(
            select(LogLine.line, LogLine.received_ms, LogLine.kind).where(
                LogLine.device == device, LogLine.log == camera, LogLine.seq == seq
            )
        ).one_or_none()
        if row is None or line is None:
            raise HTTPException(404, "There is no such segment.")
        over = covering(connection, device, camera, seq)
        if over is not None:
            try:
                proof = stretch_of(connection, device, camera, over).prove(seq)
            except EvidenceError as error:
                problem = str(error)
    return show(
        request,
        "segment.html",
        segment=row,
        line=line,
        data=_data(line.line),
        leaf=leaf_hash(line.line.encode()).hex(),
        over=over,
        proof=proof,
        problem=problem,
        steps=steps,
    )


def _data(line: str) -> list[tuple[str, str]]:
    """What the event says, key by key."""
    try:
        data = json.loads(line)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    if not isinstance(data, dict):
        return []
    return [
        (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in data.items()
    ]
