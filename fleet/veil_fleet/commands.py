"""Commands to boxes: signed here, sent as `fleet-operator`, and the box's answer."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from veil.audit.event import timestamp
from veil.audit.note import ED25519, SigningKey
from veil.errors import CommandError, LinkError, MessageError, UsageError
from veil.messages.base import MAX_PAYLOAD_BYTES
from veil.messages.command import (
    MAX_LIFETIME_S,
    SIGNATURE_PREFIX,
    Arguments,
    Command,
    CommandBody,
    Response,
    Result,
    SegmentProof,
    SignedCommand,
)
from veil.messages.topics import Kind, Topic
from veil_fleet.broker import OPERATOR
from veil_fleet.keyfile import read_key
from veil_fleet.settings import FleetSettings

KEY_FILE: Final = "command.key"
"""In the fleet's folder, mode 0600."""

LIFETIME_S: Final = 60
MAX_PAGES: Final = 1000


@dataclass(frozen=True, slots=True)
class OperatorLink:
    """How the broker is reached. `tls` None: without, for a broker on this machine."""

    host: str
    port: int
    tls: ssl.SSLContext | None


@dataclass(frozen=True, slots=True)
class Operator:
    """Who commands boxes: link, key and patience."""

    link: OperatorLink
    key: SigningKey
    timeout_s: float

    @classmethod
    def open(cls, settings: FleetSettings, timeout_s: float) -> Operator:
        """Raises LinkError or EvidenceError where the folder has no certificate or no key for it."""
        return cls(operator_link(settings), read_key(settings.folder / KEY_FILE, ED25519), timeout_s)

    async def ask(self, device: str, command: Command, camera: str | None = None) -> Result:
        """Raises as `send`, and UsageError for what cannot be a name."""
        with _names_that_can_be():
            body = make_body(device, command, Arguments(camera=camera), time.time_ns())
        return await send(self.link, body, self.key, self.timeout_s)

    async def manifest(self, device: str, camera: str, start: str, end: str) -> list[SegmentProof]:
        """As `fetch_manifest`; UsageError for what cannot be a name."""
        with _names_that_can_be():
            return await fetch_manifest(self.link, device, camera, start, end, self.key, self.timeout_s)


@contextmanager
def _names_that_can_be() -> Iterator[None]:
    try:
        yield
    except ValidationError:
        raise UsageError("That is no name of a box or of a camera.") from None


def operator_link(settings: FleetSettings) -> OperatorLink:
    """As the settings say. Raises LinkError where the operator's certificate cannot be used."""
    broker, folder = settings.broker, settings.folder
    tls = None
    if broker.tls == "on":
        tls = operator_tls(
            settings.resolved(broker.ca), folder / f"{OPERATOR}.pem", folder / f"{OPERATOR}.key"
        )
    return OperatorLink(broker.host, broker.port, tls)


def operator_tls(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Raises LinkError where the files cannot be used."""
    try:
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise LinkError(
            f"The operator's certificate cannot be used: {error.strerror or error}.",
            hint=f"It is made by veil-fleet init; these were looked for: {ca}, {certificate}, {key}.",
        ) from error
    return context


def make_body(
    device: str, command: Command, arguments: Arguments, now_ns: int, lifetime_s: int = LIFETIME_S
) -> CommandBody:
    """A new command, with a nonce of its own. `lifetime_s` is at most `MAX_LIFETIME_S`."""
    if not 0 < lifetime_s <= MAX_LIFETIME_S:
        raise ValueError(f"a command holds for 1 to {MAX_LIFETIME_S} s")
    return CommandBody(
        device=device,
        command=command,
        arguments=arguments,
        issued=timestamp(now_ns),
        expires=timestamp(now_ns + lifetime_s * 1_000_000_000),
        nonce=secrets.token_hex(16),
    )


def sign_command(body: CommandBody, key: SigningKey) -> SignedCommand:
    text = body.encode().decode()
    signature = key.sign(SIGNATURE_PREFIX + text.encode())
    return SignedCommand(body=text, key=str(key.verifier), signature=base64.b64encode(signature).decode())


async def send(link: OperatorLink, body: CommandBody, key: SigningKey, timeout_s: float) -> Result:
    """Sends one command and waits for its answer.

    Raises LinkError where the broker cannot be reached, CommandError for a box that refuses, fails or says
    nothing within `timeout_s` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            response = await _exchange(link, body, key)
    except TimeoutError:
        raise CommandError(
            f"{body.device} has not answered within {timeout_s:g} s.",
            hint="It is away, or takes no commands (fleet.command_keys). What was sent expires by itself.",
        ) from None
    except aiomqtt.MqttError as error:
        raise LinkError(
            f"The broker at {link.host}:{link.port} cannot be used: {error}.",
            hint="Look at [broker] of the settings, and whether Mosquitto runs.",
        ) from error
    if response.error:
        raise CommandError(f"{body.device}: {response.error}")
    return response.result or Result()


async def _exchange(link: OperatorLink, body: CommandBody, key: SigningKey) -> Response:
    correlation = bytes.fromhex(body.nonce)
    answers = str(Topic(body.device, Kind.RESPONSE, OPERATOR))
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ResponseTopic = answers
    properties.CorrelationData = correlation
    # No later than the command itself: a box that comes back need not refuse it.
    properties.MessageExpiryInterval = LIFETIME_S
    connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    connect.MaximumPacketSize = MAX_PAYLOAD_BYTES + 1024
    async with aiomqtt.Client(
        link.host,
        link.port,
        identifier=f"{OPERATOR}-{body.nonce[:16]}",
        protocol=aiomqtt.ProtocolVersion.V5,
        tls_context=link.tls,
        clean_start=True,
        properties=connect,
        max_queued_incoming_messages=64,
    ) as client:
        await client.subscribe(answers, qos=1)
        await client.publish(
            str(Topic(body.device, Kind.COMMAND)),
            sign_command(body, key).encode(),
            qos=1,
            properties=properties,
        )
        async for message in client.messages:
            if getattr(message.properties, "CorrelationData", None) != correlation:
                continue
            response = _decoded(message.payload)
            if response is not None and response.nonce in {body.nonce, ""}:
                return response
    raise aiomqtt.MqttError("the connection ended")


def _decoded(payload: bytes) -> Response | None:
    try:
        return Response.decode(payload)
    except MessageError:
        return None


async def fetch_manifest(
    link: OperatorLink, device: str, camera: str, start: str, end: str, key: SigningKey, timeout_s: float
) -> list[SegmentProof]:
    """All segments of a time range, page by page: a command each. Raises as `send`.

    Args:
        start, end: RFC 3339 in UTC with microseconds.
    """
    found: list[SegmentProof] = []
    after: int | None = None
    for _ in range(MAX_PAGES):
        arguments = Arguments(camera=camera, start=start, end=end, after=after)
        body = make_body(device, Command.MANIFEST, arguments, time.time_ns())
        result = await send(link, body, key, timeout_s)
        found += result.segments or ()
        if result.more_after is None:
            return found
        if after is not None and result.more_after <= after:
            raise CommandError(f"{device} goes round in circles: its pages do not move on.")
        after = result.more_after
    raise CommandError(f"{device} has more than {MAX_PAGES} pages for this range; ask for a shorter one.")
