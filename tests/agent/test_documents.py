"""Manual, schemas and AsyncAPI document say what the program does; real messages are held against them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.house import DEVICE, WITNESS, AgentThread, Listener, fill, log_of, write_config
from fleet_house import Broker, wait_for
from veil.audit.note import Note, cosign_note
from veil.messages.documents import CHANNELS, MESSAGES, asyncapi, documents, file_of
from veil.messages.health import EXPIRES_S
from veil.messages.topics import TO_BOX, TO_FLEET, Kind, Topic

DOCS = Path(__file__).resolve().parents[2] / "docs"


def schema(name: str) -> Any:
    return json.loads((DOCS / "mqtt" / name).read_text())


def test_the_documents_are_fresh() -> None:
    there = {path.name: path.read_text() for path in (DOCS / "mqtt").iterdir()}
    assert there == documents(), "run make schema"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_schema_is_one(message: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(file_of(message)))


def test_every_topic_has_its_channel_and_its_row_in_the_manual() -> None:
    assert {channel.kind for channel in CHANNELS} == {*TO_BOX, *TO_FLEET}
    rows = {
        row[1]: row
        for row in re.findall(r"^(\| `(veil/[^`]+)` \| (\d) \| (\w*) ?\| (\d*))", manual(), re.MULTILINE)
    }
    assert rows.keys() == {channel.address for channel in CHANNELS}
    for channel in CHANNELS:
        _, _, qos, retained, expires = rows[channel.address]
        assert (int(qos), retained == "yes") == (channel.qos, channel.retain)
        assert int(expires or 0) == channel.expiry_s
        named = channel.parameter or "x"
        text = channel.address.replace("{device}", "d").replace(f"{{{channel.parameter}}}", named)
        topic = Topic.parse(text)
        assert topic is not None
        assert topic.kind is channel.kind


def manual() -> str:
    return (DOCS / "mqtt.md").read_text()


def test_every_link_of_the_manual_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", manual()):
        assert (DOCS / target).exists(), target


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        if reference.startswith("#/"):
            found: Any = document
            for part in reference[2:].split("/"):
                found = found[part]
        else:
            assert (DOCS / "mqtt" / reference).exists()


def test_real_messages_are_what_the_documents_say(broker: Broker, tmp_path: Path) -> None:
    by_kind = {channel.kind: channel for channel in CHANNELS}
    seen: set[Kind] = set()
    box = tmp_path / "box"
    with Listener(broker, witness=True) as fleet, log_of(box / "state", "front") as log:
        fill(log, 50)
        with AgentThread(write_config(box, broker, cameras="front")):
            fleet.wait_cosigned("front", 50)
            fleet.wait(f"veil/{DEVICE}/health")
            wait_for(lambda: any("cosign/front" in heard.topic for heard in fleet.heard), "the receipt")
        fleet.wait_status("offline", "stopped")
        for heard in list(fleet.heard):
            topic = Topic.parse(heard.topic)
            assert topic is not None
            channel = by_kind[topic.kind]
            jsonschema.validate(json.loads(heard.payload), schema(file_of(channel.message)))
            if topic.kind is Kind.STATUS and b"online" in heard.payload:
                assert heard.expiry_s is not None
                assert heard.expiry_s <= EXPIRES_S
            seen.add(topic.kind)
    assert seen >= {*TO_FLEET, Kind.COSIGN} - {Kind.RESPONSE}


def test_the_schemas_refuse_what_the_program_refuses() -> None:
    note = cosign_note(Note("text\n", ()), WITNESS, 1).encode()
    good = {"v": 1, "log": "front", "note": note}
    wanted = schema("checkpoint-note.schema.json")
    jsonschema.validate(good, wanted)
    for change in ({"v": 2}, {"log": "../front"}, {"note": 5}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | change, wanted)
