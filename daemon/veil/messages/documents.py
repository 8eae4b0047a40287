"""The link's machine-readable documents: a JSON Schema for each message, and an AsyncAPI 3 file.

`python -m veil.messages.documents FOLDER` writes them (make schema).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from veil.messages.base import Message
from veil.messages.command import CommandBody, Response, SignedCommand
from veil.messages.evidence import CheckpointNote, Keys, LogEntries, Resend
from veil.messages.health import EXPIRES_S, CameraState, Health, Status
from veil.messages.topics import ROOT, TO_BOX, Kind

ASYNCAPI: Final = "asyncapi.yaml"
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"


@dataclass(frozen=True, slots=True)
class Channel:
    """What goes over one kind of topic.

    Attributes:
        parameter: what the last part of the topic names; empty where there is none.
        expiry_s: MQTT's message expiry; 0 for none.
    """

    kind: Kind
    message: type[Message]
    qos: Literal[0, 1]
    text: str
    parameter: str = ""
    expiry_s: int = 0

    @property
    def retain(self) -> bool:
        """Whether a broker keeps the newest one for who comes later."""
        return self.kind in {Kind.STATUS, Kind.HEALTH, Kind.KEYS, Kind.CAMERA}

    @property
    def address(self) -> str:
        tail = f"/{{{self.parameter}}}" if self.parameter else ""
        end = "/state" if self.kind is Kind.CAMERA else ""
        return f"{ROOT}/{{device}}/{self.kind}{tail}{end}"


CHANNELS: Final = (
    Channel(
        Kind.STATUS,
        Status,
        1,
        "Whether the box is there. Refreshed at a third of its life; the will and a clean stop say offline.",
        expiry_s=EXPIRES_S,
    ),
    Channel(Kind.HEALTH, Health, 0, "How the box and its cameras are, at intervals and on change."),
    Channel(Kind.KEYS, Keys, 1, "The lines of keys.jsonl: which keys sign the box's logs."),
    Channel(Kind.CAMERA, CameraState, 1, "What a camera's process is doing, on change.", "camera"),
    Channel(Kind.LOG, LogEntries, 1, "Consecutive lines of a log.", "log"),
    Channel(Kind.CHECKPOINT, CheckpointNote, 1, "A log's newest signed head.", "log"),
    Channel(Kind.COSIGN, CheckpointNote, 1, "The receipt: a head with a witness's signature.", "log"),
    Channel(Kind.RESEND, Resend, 1, "The fleet manager lacks lines of a log.", "log"),
    Channel(Kind.COMMAND, SignedCommand, 1, "A signed command, with Response Topic."),
    Channel(Kind.RESPONSE, Response, 1, "What became of a command.", "requester", 300),
)
MESSAGES: Final[tuple[type[Message], ...]] = (
    *dict.fromkeys(channel.message for channel in CHANNELS),
    CommandBody,
)
_PARAMETERS: Final = {
    "device": "The box's name; also its certificate's common name and its client identifier.",
    "camera": "The camera's name.",
    "log": "The log's name: a camera's, or `box`.",
    "requester": "Whoever asked, chosen by them.",
}


def file_of(message: type[Message]) -> str:
    """`Status` has `status.schema.json`, `CameraState` has `camera-state.schema.json`."""
    name = "".join(f"-{sign.lower()}" if sign.isupper() else sign for sign in message.__name__).lstrip("-")
    return f"{name}.schema.json"


def schema_of(message: type[Message]) -> dict[str, Any]:
    """JSON Schema 2020-12 of what `encode` writes."""
    schema = message.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": file_of(message),
        **schema,
        "x-max-bytes": message.MAX_BYTES,
    }


def asyncapi() -> dict[str, Any]:
    """From the box's side: it sends what goes to the fleet, and receives the rest."""
    channels, operations = {}, {}
    for channel in CHANNELS:
        name = str(channel.kind)
        receives = channel.kind in TO_BOX
        parameters = ["device", *([channel.parameter] if channel.parameter else [])]
        channels[name] = {
            "address": channel.address,
            "description": channel.text,
            "parameters": {one: {"description": _PARAMETERS[one]} for one in parameters},
            "messages": {
                channel.message.__name__: {"$ref": f"#/components/messages/{channel.message.__name__}"}
            },
        }
        binding: dict[str, Any] = {"qos": channel.qos, "retain": channel.retain, "bindingVersion": "0.2.0"}
        if channel.expiry_s:
            binding["messageExpiryInterval"] = channel.expiry_s
        operation: dict[str, Any] = {
            "action": "receive" if receives else "send",
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": channel.text,
            "bindings": {"mqtt": binding},
        }
        if channel.kind is Kind.COMMAND:
            operation["reply"] = {
                "address": {"location": "$message.header#/responseTopic"},
                "channel": {"$ref": f"#/channels/{Kind.RESPONSE}"},
            }
        operations[f"{'receive' if receives else 'send'}{name.capitalize()}"] = operation
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Veil: a box and its fleet manager",
            "version": "1.0.0",
            "description": "MQTT 5 with TLS and a certificate per box. docs/mqtt.md is the manual.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "broker.example:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5",
                "description": "Mosquitto, as `veil-fleet broker-config` sets it up.",
                "security": [{"$ref": "#/components/securitySchemes/certificate"}],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "securitySchemes": {"certificate": {"type": "X509"}},
            "messages": {
                message.__name__: {
                    "name": message.__name__,
                    "contentType": "application/json",
                    "payload": {
                        "schemaFormat": _SCHEMA_FORMAT,
                        "schema": {"$ref": f"./{file_of(message)}"},
                    },
                }
                for message in dict.fromkeys(channel.message for channel in CHANNELS)
            },
        },
    }


def documents() -> dict[str, str]:
    """Every file by its name."""
    schemas = {file_of(message): json.dumps(schema_of(message), indent=2) + "\n" for message in MESSAGES}
    return {**schemas, ASYNCAPI: "\n".join(_yaml(asyncapi(), 0)) + "\n"}


def _yaml(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Block style; texts and lists of one line as JSON, which YAML 1.2 reads."""
    pad = "  " * depth
    for key, inner in value.items():
        shown = key if key.replace("_", "").isalnum() else json.dumps(key)
        if isinstance(inner, Mapping):
            yield f"{pad}{shown}:"
            yield from _yaml(inner, depth + 1)
        else:
            yield f"{pad}{shown}: {json.dumps(inner)}"


def write(folder: Path) -> None:
    """Replaces all documents; what is no longer one goes."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = documents()
    for path in folder.glob("*.schema.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
