"""Home Assistant finds the box and its cameras, and reads them from what the box sends anyway."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment

from agent_desk.box_house import Box
from agent_desk.health_made import health
from veil.agent.home_assistant import discovery
from veil.config import Config
from veil.config_load import load_config
from veil.messages.health import Status
from veil.messages.topics import Topic
from veil_fleet.broker import box_acl

_ON = "[agent]\nhome_assistant = true"


def _config(tmp_path: Path, extra: str) -> Config:
    box = Box(tmp_path)
    box.write(extra=extra)
    return load_config(box.file, {})


def _found(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {topic: json.loads(payload) for topic, payload in discovery(_config(tmp_path, _ON))}


def test_it_is_off_by_default(tmp_path: Path) -> None:
    assert discovery(_config(tmp_path, "")) == []


def test_each_entity_reads_its_value_from_a_real_message(tmp_path: Path) -> None:
    said = json.loads(health().encode())
    status = json.loads(
        Status(
            device="box-7", state="online", session="0" * 16, since="2026-11-21T12:00:00.000000Z", version="1"
        ).encode()
    )
    values = {}
    for topic, entity in _found(tmp_path).items():
        template = Environment(autoescape=True).from_string(entity["value_template"])
        message = status if entity["state_topic"].endswith("/status") else said
        values[topic.split("/")[3]] = template.render(value_json=message)
    assert values == {
        "status": "online",
        "temperature": "51.5",
        "disk": "5000",
        "queue": "12",
        "cpu": "20.5",
        "front-fps": "29.9",
        "front-condition": "running",
        "front-picture": "ok",
        "yard-fps": "0.0",
        "yard-condition": "hung",
        "yard-picture": "black",
    }


def test_a_box_without_a_sensor_has_an_unknown_temperature(tmp_path: Path) -> None:
    (entity,) = [e for t, e in _found(tmp_path).items() if "/temperature/" in t]
    template = Environment(autoescape=True).from_string(entity["value_template"])
    assert template.render(value_json={"box": {}}) == "None"


def test_the_entities_belong_to_one_device_and_are_away_when_the_box_is(tmp_path: Path) -> None:
    found = _found(tmp_path)
    assert len({entity["unique_id"] for entity in found.values()}) == len(found)
    assert {tuple(entity["device"]["identifiers"]) for entity in found.values()} == {("veil_box-7",)}
    for entity in found.values():
        assert Topic.parse(entity["state_topic"]) is not None
        if entity["state_topic"].endswith("/health"):
            assert entity["availability"][0]["topic"] == "veil/box-7/status"
        assert entity["expire_after"] >= 45


def test_the_brokers_access_list_lets_the_box_announce_itself(tmp_path: Path) -> None:
    patterns = [
        line.removeprefix("pattern write ").replace("%u", "box-7").replace("+", "[^/]+")
        for line in box_acl(home_assistant="homeassistant").splitlines()
        if line.startswith("pattern write")
    ]
    for topic in _found(tmp_path):
        assert any(re.fullmatch(pattern, topic) for pattern in patterns), topic


def test_another_prefix_is_taken(tmp_path: Path) -> None:
    config = _config(tmp_path, f'{_ON}\nhome_assistant_prefix = "ha"')
    assert all(topic.startswith("ha/") for topic, _ in discovery(config))


def test_the_site_is_the_suggested_area(tmp_path: Path) -> None:
    box = Box(tmp_path)
    text = box.file.read_text().replace('name = "box-7"', 'name = "box-7"\nsite = "North gate \\"1\\""')
    box.file.write_text(f"{_ON}\n{text}")
    for _, payload in discovery(load_config(box.file, {})):
        assert json.loads(payload)["device"]["suggested_area"] == 'North gate "1"'
