"""Home Assistant's MQTT discovery: the box and its cameras as sensors, without YAML (docs/commands.md)."""

from __future__ import annotations

import json
from typing import Final

from veil import __version__
from veil.config import Config
from veil.messages.health import EXPIRES_S, HEALTH_EVERY_S, CameraCondition
from veil.messages.topics import Kind, Topic

_PICTURES: Final = ("ok", "frozen", "black", "covered")
Settings = dict[str, object]


def discovery(config: Config) -> list[tuple[str, bytes]]:
    """Topics and payloads to publish retained, at birth; none unless `agent.home_assistant` is set.

    The topics are `PREFIX/COMPONENT/DEVICE/OBJECT/config`: the broker's ACL must let the box write there.
    """
    if not config.agent.home_assistant:
        return []
    entities = _of_box() | {
        f"{camera}-{what}": settings
        for camera in config.cameras
        for what, settings in _of_camera(camera).items()
    }
    return [_message(config, object_id, dict(settings)) for object_id, settings in entities.items()]


def _message(config: Config, object_id: str, settings: Settings) -> tuple[str, bytes]:
    name = config.box.name
    component = settings.pop("component")
    topic = f"{config.agent.home_assistant_prefix}/{component}/{name}/{object_id}/config"
    status, health = str(Topic(name, Kind.STATUS)), str(Topic(name, Kind.HEALTH))
    device: Settings = {
        "identifiers": [f"veil_{name}"],
        "name": name,
        "manufacturer": "Veil",
        "model": "Veil box",
        "sw_version": __version__,
    }
    if config.box.site:
        device["suggested_area"] = config.box.site
    common: Settings = {
        "unique_id": f"veil_{name}_{object_id}",
        "object_id": f"{name}_{object_id}".replace("-", "_"),
        "device": device,
        "origin": {"name": "veil", "sw_version": __version__},
        "qos": 1,
    }
    if object_id == "status":
        # It is the box's word on whether it is there: it has no availability of its own.
        common |= {"state_topic": status, "expire_after": EXPIRES_S}
    else:
        common |= {
            "state_topic": health,
            "expire_after": 3 * max(HEALTH_EVERY_S, config.agent.health_every_s),
            "availability": [
                {
                    "topic": status,
                    "value_template": "{{ value_json.state }}",
                    "payload_available": "online",
                    "payload_not_available": "offline",
                }
            ],
        }
    return topic, json.dumps({**common, **settings}, separators=(",", ":")).encode()


def _of_box() -> dict[str, Settings]:
    return {
        "status": {
            "component": "binary_sensor",
            "name": "Status",
            "device_class": "connectivity",
            "value_template": "{{ value_json.state }}",
            "payload_on": "online",
            "payload_off": "offline",
        },
        # An empty value is unknown to Home Assistant: the box has no sensor.
        "temperature": _number("Temperature", "box.temperature_c | default(none)", "°C", "temperature"),
        "disk": _number("Disk free", "box.disk_free_mib", "MiB", "data_size"),
        "queue": _number("Evidence waiting", "box.queue_events", "events", None),
        "cpu": _number("CPU", "box.cpu_percent", "%", None),
    }


def _of_camera(camera: str) -> dict[str, Settings]:
    at = f"cameras['{camera}']"
    return {
        "fps": _number(f"{camera} frame rate", f"{at}.fps_out", "fps", None),
        "condition": _word(f"{camera} condition", f"{at}.condition", tuple(CameraCondition)),
        "picture": _word(f"{camera} picture", f"{at}.picture", _PICTURES),
    }


def _number(name: str, value: str, unit: str, device_class: str | None) -> Settings:
    settings: Settings = {
        "component": "sensor",
        "name": name,
        "value_template": "{{ value_json." + value + " }}",
        "unit_of_measurement": unit,
        "state_class": "measurement",
    }
    return settings | ({"device_class": device_class} if device_class else {})


def _word(name: str, value: str, options: tuple[str, ...]) -> Settings:
    return {
        "component": "sensor",
        "name": name,
        "value_template": "{{ value_json." + value + " }}",
        "device_class": "enum",
        "options": [str(option) for option in options],
    }
