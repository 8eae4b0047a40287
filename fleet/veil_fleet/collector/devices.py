"""Status, health and camera states into `devices` and `health_points`; of many boxes at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from veil.messages.health import CameraState, Health, Status
from veil_fleet.collector.alarms import printable
from veil_fleet.collector.heard import Heard, Received
from veil_fleet.store.dialect import insert_into
from veil_fleet.store.queries import CLOCK_TOLERANCE_MS
from veil_fleet.store.tables import Device, HealthPoint

POINT_MS = 60_000
"""Health comes twice a minute and on change; one point a minute is kept."""


def ensure_devices(connection: Connection, names: Sequence[str]) -> None:
    """A row for each, where there is none. `names` are sorted."""
    if names:
        statement = insert_into(connection, Device).on_conflict_do_nothing()
        connection.execute(statement, [{"name": name} for name in names])


def lock_devices(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Keys and pinned key of each, until the transaction ends, in one order for all collectors."""
    rows = connection.execute(
        select(Device.name, Device.keys, Device.pinned_key)
        .where(Device.name.in_(names))
        .order_by(Device.name)
        .with_for_update(key_share=True)
    )
    return {row.name: (row.keys, row.pinned_key) for row in rows}


def heard_ms(source: Received, expires_s: int) -> int:
    """When a status was said: the broker counts its life down while it keeps or queues it."""
    left_s = expires_s if source.expires_s is None else min(source.expires_s, expires_s)
    return source.received_ms - (expires_s - left_s) * 1000


def write_statuses(connection: Connection, heard: Sequence[Heard]) -> None:
    """The newest of each box. What the broker had kept of an `online` never counts as a sign of life.

    A broker that lost its clock in a power cut would give it as fresh; whoever is there says so again soon.
    """
    newest: dict[str, dict[str, Any]] = {}
    kept: dict[str, dict[str, Any]] = {}
    for message in heard:
        status = message.body
        if not isinstance(status, Status):
            continue
        row = _status_row(status, message.source)
        (kept if message.source.retained and status.state == "online" else newest)[message.device] = row
    if newest:
        connection.execute(
            update(Device)
            .where(
                Device.name == bindparam("of_name"),
                or_(
                    Device.status_ms.is_(None),
                    Device.status_ms <= bindparam("heard"),
                    # Our clock stepped back: what it said before is no measure.
                    Device.status_ms > bindparam("future"),
                ),
            )
            .values({column: bindparam(f"new_{column}") for column in _STATUS}),
            [newest[name] for name in sorted(newest)],
        )
    if kept:
        connection.execute(
            update(Device)
            .where(Device.name == bindparam("of_name"), Device.status_ms.is_(None))
            .values({column: bindparam(f"new_{column}") for column in _STATUS}),
            [
                row | {"new_status_ms": row["new_status_ms"] - row["new_status_expires_s"] * 1000}
                for _, row in sorted(kept.items())
            ],
        )


_STATUS = (
    "status_state",
    "status_reason",
    "status_session",
    "status_ms",
    "status_expires_s",
    "version",
    "site",
    "cameras",
    "bundle",
)


def _status_row(status: Status, source: Received) -> dict[str, Any]:
    heard = heard_ms(source, status.expires_s) if status.state == "online" else source.received_ms
    bundle = f"{status.bundle.name} {status.bundle.version}" if status.bundle else ""
    return {
        "of_name": status.device,
        "heard": heard,
        "future": source.received_ms + CLOCK_TOLERANCE_MS,
        "new_status_state": status.state,
        "new_status_reason": status.reason or "",
        "new_status_session": status.session,
        "new_status_ms": heard,
        "new_status_expires_s": status.expires_s,
        "new_version": printable(status.version, 64),
        "new_site": printable(status.site, 64),
        "new_cameras": json.dumps(status.cameras),
        "new_bundle": printable(bundle, 160),
    }


def write_health(connection: Connection, heard: Sequence[Heard]) -> None:
    """The newest of each box, and a point for each camera and minute."""
    rows: dict[str, dict[str, Any]] = {}
    points: dict[tuple[str, str, int], dict[str, Any]] = {}
    for message in heard:
        health, source = message.body, message.source
        if not isinstance(health, Health):
            continue
        text = source.payload.decode()
        rows[message.device] = {"of_name": message.device, "text": text, "heard": source.received_ms}
        if source.retained:
            continue
        for camera, numbers in health.cameras.items():
            minute = source.received_ms // POINT_MS * POINT_MS
            points.setdefault(
                (message.device, camera, minute),
                {
                    "device": message.device,
                    "camera": camera,
                    "time_ms": minute,
                    "fps_in": numbers.fps_in,
                    "fps_out": numbers.fps_out,
                    "latency_p99_ms": numbers.latency_p99_ms,
                    "detector_p50_ms": numbers.detector_p50_ms,
                    "dropped": min(sum(numbers.dropped.values()), 2**63 - 1),
                    "whole_frames": numbers.whole_frames,
                },
            )
    if rows:
        connection.execute(
            update(Device)
            .where(Device.name == bindparam("of_name"))
            .values(health=bindparam("text"), health_ms=bindparam("heard")),
            [rows[name] for name in sorted(rows)],
        )
    if points:
        statement = insert_into(connection, HealthPoint).on_conflict_do_nothing()
        connection.execute(statement, [points[key] for key in sorted(points)])


def write_camera_states(connection: Connection, heard: Sequence[Heard]) -> None:
    """The newest of each camera, kept as one object a box."""
    changed: dict[str, dict[str, Any]] = {}
    for message in heard:
        if isinstance(message.body, CameraState):
            state = message.body.model_dump(mode="json")
            changed.setdefault(message.device, {})[message.body.camera] = state
    if not changed:
        return
    rows = connection.execute(
        select(Device.name, Device.camera_states)
        .where(Device.name.in_(changed))
        .order_by(Device.name)
        .with_for_update(key_share=True)
    ).all()
    updates = []
    for row in rows:
        states = json.loads(row.camera_states or "{}") | changed[row.name]
        for stale in list(states)[: max(0, len(states) - MAX_CAMERAS)]:
            del states[stale]
        updates.append({"of_name": row.name, "states": json.dumps(states)})
    connection.execute(
        update(Device).where(Device.name == bindparam("of_name")).values(camera_states=bindparam("states")),
        updates,
    )


MAX_CAMERAS = 64
"""As in Status; whoever names more loses the ones named first."""
