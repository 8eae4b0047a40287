"""What boxes say of themselves, as stored. They may say anything: what does not fit is not shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from veil.errors import MessageError
from veil.messages.health import CameraCondition, CameraHealth, Health
from veil_fleet.web.values import NOTHING, Value


def health_of(stored: str | None) -> Health | None:
    """None where there is none, or none that can be read."""
    if not stored:
        return None
    try:
        return Health.decode(stored.encode(errors="replace"))
    except MessageError:
        return None


def names_of(stored: str) -> tuple[str, ...]:
    """A JSON list of names."""
    found = _json(stored)
    return tuple(str(name) for name in found[:64]) if isinstance(found, list) else ()


def states_of(stored: str) -> Mapping[str, Mapping[str, Any]]:
    """A JSON object of objects: camera states by name."""
    found = _json(stored)
    if not isinstance(found, dict):
        return {}
    return {name: state for name, state in found.items() if isinstance(state, dict)}


def _json(stored: str) -> Any:
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None


def is_well(camera: CameraHealth) -> bool:
    """Whether it shows a live, usable picture."""
    return camera.condition is CameraCondition.RUNNING and camera.picture == "ok" and camera.connected


def cameras_value(names: tuple[str, ...], health: Health | None, *, online: bool) -> Value:
    """`3/4`: well, of all. Of a box that is away nothing is known."""
    total = len(names) or (len(health.cameras) if health else 0)
    if not online or health is None:
        return Value(f"–/{total}", "off")
    well = sum(is_well(camera) for camera in health.cameras.values())
    return Value(f"{well}/{total}", "ok" if well == total else "bad")


def queue_value(health: Health | None) -> Value:
    """Log lines that wait for their receipt."""
    if health is None:
        return NOTHING
    waiting = health.box.queue_events
    return Value(f"{waiting:,}", "warn" if waiting > 10_000 else "")
