"""Commands to a box: MQTT 5 request and response, signed by a key of the fleet that the box trusts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from veil.messages.base import DeviceName, KeyText, LogName, Message, Part, Text, Time

MAX_LIFETIME_S = 300
MAX_CLOCK_SKEW_S = 30
SIGNATURE_PREFIX = b"veil-command/v1\n"
"""The signature is Ed25519 over this and the body's UTF-8."""


class Command(StrEnum):
    PING = "ping"
    RELOAD = "reload"
    """Read the configuration again; cameras whose part changed restart. A faulty one changes nothing."""
    RESTART_CAMERA = "restart_camera"
    SNAPSHOT = "snapshot"
    """The newest masked picture, JPEG, base64."""
    MANIFEST = "manifest"
    """The segments of a time range, with their hashes, from the log."""


class Arguments(Part):
    """What a command needs: `camera` for restart_camera, snapshot, manifest; times (RFC 3339) for manifest.

    Attributes:
        after: sequence number to go on behind, where an answer said that there is more.
    """

    camera: LogName | None = None
    start: Time | None = None
    end: Time | None = None
    after: Annotated[int, Field(ge=0, lt=2**53)] | None = None


class CommandBody(Message):
    """What is signed.

    Attributes:
        expires: at most `MAX_LIFETIME_S` after `issued`.
        nonce: random; a box takes each one once.
    """

    MAX_BYTES = 4096

    device: DeviceName
    command: Command
    arguments: Arguments = Arguments()
    issued: Time
    expires: Time
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class SignedCommand(Message):
    """`veil/DEVICE/command`, with Response Topic `veil/DEVICE/response/REQUESTER` and Correlation Data.

    Attributes:
        body: a `CommandBody` as JSON text, signed as it stands here.
        key: the verifier key (NAME+ID+BASE64) that signed it; the box must trust it already.
        signature: base64 of 64 bytes.
    """

    MAX_BYTES = 8192

    body: Annotated[str, Field(max_length=4096)]
    key: KeyText
    signature: Annotated[str, Field(max_length=100)]


class SegmentProof(Part):
    """One segment of a manifest, from its event."""

    sequence: Annotated[int, Field(ge=0, lt=2**53)]
    line: Annotated[str, Field(max_length=16 * 1024)]


class Result(Part):
    """What a command gave; the keys that are set depend on the command."""

    version: Text | None = None
    restarted: Annotated[tuple[LogName, ...], Field(max_length=64)] | None = None
    jpeg: Annotated[str, Field(max_length=60_000)] | None = None
    segments: Annotated[tuple[SegmentProof, ...], Field(max_length=256)] | None = None
    more_after: Annotated[int, Field(ge=0, lt=2**53)] | None = None


class Response(Message):
    """`veil/DEVICE/response/REQUESTER`.

    Attributes:
        nonce: of the command; empty where it could not be read.
        error: why it was refused or failed; empty when it was done.
    """

    nonce: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
    error: Text = ""
    result: Result | None = None
