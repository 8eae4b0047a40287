"""One box: its cameras, its machine, its logs, its alarms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from veil.messages.health import CameraCondition, CameraHealth, Health
from veil_fleet.store.tables import Alarm, Device, Log, LogLine
from veil_fleet.web.reading import health_of, names_of, queue_value, states_of
from veil_fleet.web.standing import Standing, standing_at
from veil_fleet.web.values import NOTHING, Value

MAX_LOGS: Final = 80
MAX_EVENTS: Final = 30
MAX_ALARMS: Final = 20
_NOT_TOLD: Final = frozenset({"first_wall_us", "last_wall_us", "sha256"})

_CONDITIONS: Final = {
    CameraCondition.RUNNING: "ok",
    CameraCondition.SLATE: "warn",
    CameraCondition.STOPPED: "bad",
    CameraCondition.HUNG: "bad",
}


@dataclass(frozen=True, slots=True)
class EventLine:
    """One line of evidence, for people. `text` comes from the box: escape it."""

    log: str
    seq: int
    time: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """What the page of a box shows.

    Attributes:
        device, logs, alarms: rows of the tables.
        states: last camera states, by camera.
    """

    device: Any
    standing: Standing
    health: Health | None
    states: Mapping[str, Mapping[str, Any]]
    logs: tuple[Any, ...]
    alarms: tuple[Any, ...]

    @property
    def name(self) -> str:
        return str(self.device.name)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those that it has now, and those that it still tells of."""
        told = self.health.cameras if self.health else {}
        return tuple(dict.fromkeys((*names_of(self.device.cameras), *told)))[:64]

    @property
    def seen_ms(self) -> int:
        return max(self.device.status_ms or 0, self.device.health_ms or 0)

    def values(self) -> dict[str, Value]:
        """Everything on the page that changes, by its place."""
        device = self.device
        seen = Value("", "", self.seen_ms) if self.seen_ms else NOTHING
        measured = Value("", "", device.health_ms) if device.health_ms else NOTHING
        made = {
            "status": Value(self.standing.words, self.standing.value),
            "seen": seen,
            "measured": measured,
            "version": Value(device.version) if device.version else NOTHING,
            "bundle": Value(device.bundle) if device.bundle else NOTHING,
            "alarms": Value(str(len(self.alarms)), "bad" if self.alarms else "ok"),
        }
        made |= _machine(self.health)
        for camera in self.cameras:
            health = self.health.cameras.get(camera) if self.health else None
            made |= _camera(camera, health, self.states.get(camera, {}))
            if self.standing is not Standing.ONLINE:
                # Nobody knows what a camera of a box that is away does; its numbers say of when they are.
                made[f"condition:{camera}"] = Value("not known", "off")
                made[f"reason:{camera}"] = Value(f"its box is {self.standing.words}")
                made[f"picture:{camera}"] = Value(made[f"picture:{camera}"].text, "off")
        for log in self.logs:
            made |= _log(log)
        return made


def read_box(connection: Connection, name: str, now_ms: int) -> Box | None:
    """None where there is no such box."""
    row = connection.execute(
        select(*Device.__table__.columns, standing_at(now_ms).label("standing")).where(Device.name == name)
    ).one_or_none()
    if row is None:
        return None
    logs = connection.execute(
        select(
            Log.name,
            Log.stored_size,
            Log.seen_size,
            Log.cosigned_size,
            Log.cosigned_ms,
            Log.pending_ms,
            Log.pending != "",
        )
        .where(Log.device == name)
        .order_by(Log.name)
        .limit(MAX_LOGS)
    ).all()
    alarms = connection.execute(
        select(Alarm.id, Alarm.kind, Alarm.log, Alarm.text, Alarm.raised_ms, Alarm.last_ms, Alarm.count)
        .where(Alarm.device == name, Alarm.closed_ms.is_(None))
        .order_by(Alarm.last_ms.desc())
        .limit(MAX_ALARMS)
    ).all()
    return Box(
        row,
        Standing(row.standing),
        health_of(row.health),
        states_of(row.camera_states),
        tuple(logs),
        tuple(alarms),
    )


def read_events(connection: Connection, box: Box) -> list[EventLine]:
    """The newest lines of all its logs, newest first by the box's clock."""
    found: list[EventLine] = []
    for log in box.logs:
        rows = connection.execute(
            select(LogLine.seq, LogLine.time, LogLine.kind, LogLine.line)
            .where(LogLine.device == box.name, LogLine.log == log.name)
            .order_by(LogLine.seq.desc())
            .limit(MAX_EVENTS)
        )
        found += [EventLine(log.name, row.seq, row.time, row.kind, told(row.line)) for row in rows]
    found.sort(key=lambda event: (event.time, event.seq), reverse=True)
    return found[:MAX_EVENTS]


def told(line: str) -> str:
    """What a line's `data` says, short."""
    try:
        data = json.loads(line)["data"]
        shown = sorted(data.keys() - _NOT_TOLD, key=lambda key: (key != "file", key))
        parts = [f"{key.replace('_', ' ')} {_short(data[key])}" for key in shown]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    text = ", ".join(parts)
    return text if len(text) <= 240 else text[:239] + "…"


def _short(value: object) -> str:
    if isinstance(value, str):
        is_hash = len(value) == 64 and all(sign in "0123456789abcdef" for sign in value)
        return value[:12] + "…" if is_hash else value
    if isinstance(value, dict):
        return " ".join(f"{key}={_short(item)}" for key, item in value.items()) or "none"
    return json.dumps(value)


def _machine(health: Health | None) -> dict[str, Value]:
    keys = ("cpu", "memory", "temperature", "disk", "clock", "uptime", "queue", "system", "python", "config")
    if health is None:
        return dict.fromkeys(keys, NOTHING)
    box = health.box
    free = box.disk_free_mib / box.disk_total_mib if box.disk_total_mib else 1.0
    memory = box.memory_used_mib / box.memory_total_mib if box.memory_total_mib else 0.0
    heat, offset = box.temperature_c, box.clock_offset_ms
    clock = "synchronised" if box.clock_synchronised else "not synchronised"
    return {
        "cpu": Value(f"{box.cpu_percent:.0f} %", "warn" if box.cpu_percent > 90 else ""),
        "memory": Value(
            f"{box.memory_used_mib:,} of {box.memory_total_mib:,} MiB", "warn" if memory > 0.9 else ""
        ),
        "temperature": NOTHING if heat is None else Value(f"{heat:.0f} °C", "warn" if heat > 80 else ""),
        "disk": Value(
            f"{box.disk_free_mib / 1024:,.1f} of {box.disk_total_mib / 1024:,.1f} GiB free",
            "bad" if free < 0.02 else "warn" if free < 0.1 else "",
        ),
        "clock": Value(
            clock if offset is None else f"{clock}, within {offset:,.0f} ms",
            "" if box.clock_synchronised else "warn",
        ),
        "uptime": Value(_duration(box.uptime_s)),
        "queue": queue_value(health),
        "system": Value(box.system),
        "python": Value(box.python),
        "config": Value(box.config_sha256[:12]),
    }


def _camera(name: str, health: CameraHealth | None, state: Mapping[str, Any]) -> dict[str, Value]:
    keys = (
        "condition", "reason", "picture", "fps", "latency", "detector", "dropped", "covers", "slates", "age",
        "reconnects", "segments",
    )  # fmt: skip
    if health is None:
        return {f"{key}:{name}": NOTHING for key in keys}
    drops = sorted(((count, reason) for reason, count in health.dropped.items() if count), reverse=True)
    reason = state.get("reason", "")
    age = health.last_frame_age_s
    values = {
        "condition": Value(str(health.condition), _CONDITIONS[health.condition]),
        "reason": Value(reason[:400]) if isinstance(reason, str) and reason else NOTHING,
        "picture": Value(
            health.picture if health.connected else "not connected",
            "ok" if health.picture == "ok" and health.connected else "bad",
        ),
        "fps": Value(f"{health.fps_in:.1f} in, {health.fps_out:.1f} out"),
        "latency": Value(f"{health.latency_p50_ms:.0f} / {health.latency_p99_ms:.0f} ms"),
        "detector": Value(f"{health.detector_p50_ms:.0f} / {health.detector_p99_ms:.0f} ms"),
        "dropped": Value(
            ", ".join(f"{count:,} {reason.replace('_', ' ')}" for count, reason in drops) or "none"
        ),
        "covers": Value(f"{health.whole_frames:,}"),
        "slates": Value(f"{health.slates:,}"),
        "age": NOTHING if age is None else Value(f"{age:.1f} s", "warn" if age > 5 else ""),
        "reconnects": Value(f"{health.reconnects:,}"),
        "segments": Value(f"{health.segments:,}"),
    }
    return {f"{key}:{name}": value for key, value in values.items()}


def _log(log: Any) -> dict[str, Value]:
    gap = max(0, log.seen_size - log.stored_size)
    open_lines = max(0, log.stored_size - log.cosigned_size)
    pending = Value("", "warn", log.pending_ms) if log[-1] and log.pending_ms else Value("none", "")
    return {
        f"stored@{log.name}": Value(f"{log.stored_size:,}"),
        f"cosigned@{log.name}": Value(f"{log.cosigned_size:,}", "ok" if log.cosigned_size else "off"),
        f"cosigned-at@{log.name}": Value("", "", log.cosigned_ms) if log.cosigned_ms else NOTHING,
        f"open@{log.name}": Value(f"{open_lines:,}"),
        f"gap@{log.name}": Value(f"{gap:,} missing" if gap else "none", "bad" if gap else ""),
        f"pending@{log.name}": pending,
    }


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    return f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min"
