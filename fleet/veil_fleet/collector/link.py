"""The MQTT connection: what came waits here, bounded, and is acknowledged only once it is stored.

aiomqtt acknowledges a message when it arrives. Below it, paho can leave that to us (`manual_ack`), so that
the broker keeps what we could not store yet; and it gives messages faster than aiomqtt's iterator, which
makes a task for each. Hence the subclass. Boxes send again whatever is lost here all the same.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from veil.errors import LinkError
from veil.messages.topics import Kind, filter_of
from veil_fleet.collector.heard import WIRE, Received
from veil_fleet.collector.outgoing import Outgoing
from veil_fleet.settings import FleetSettings

MAX_PACKET_BYTES = 64 * 1024
UNRELIABLE_LIMIT = 20_000
"""Messages without acknowledgement (health, and what the broker had kept) that may wait; more are dropped."""

UNRELIABLE_BYTES = 32 << 20
_PUBLISH_S = 20.0
_SNAPSHOT = (Kind.KEYS, Kind.STATUS, Kind.CAMERA)
_QUIET_S = 0.5
_SNAPSHOT_S = 15.0


def tls_context(settings: FleetSettings) -> ssl.SSLContext | None:
    """With the collector's certificate. Raises LinkError where its files cannot be used."""
    broker = settings.broker
    if broker.tls == "off":
        return None
    files = [settings.resolved(path) for path in (broker.ca, broker.certificate, broker.key)]
    try:
        context = ssl.create_default_context(cafile=str(files[0]))
        context.load_cert_chain(files[1], files[2])
    except OSError as error:
        told = f"{error.strerror or error} ({', '.join(map(str, files))})"
        raise LinkError(
            f"The collector's certificate cannot be used: {told}.",
            hint="`veil-fleet init` makes it; [broker] names the files.",
        ) from None
    return context


class Link(aiomqtt.Client):
    """One connection; a new one is made after each loss.

    Args:
        group: name of the shared subscription, one that no box knows (see `broker.share_group`).
    """

    def __init__(self, settings: FleetSettings, context: ssl.SSLContext | None, group: str) -> None:
        broker = settings.broker
        self._shared = f"$share/{group}/"
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = broker.session_expiry_s
        properties.ReceiveMaximum = broker.receive_maximum
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        super().__init__(
            broker.host,
            broker.port,
            identifier=broker.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            keepalive=broker.keepalive_s,
            properties=properties,
            tls_context=context,
            timeout=15,
        )
        self._client.manual_ack_set(on=True)
        self._client.on_message = self._arrived
        self.pending_calls_threshold = 10_000
        self._waiting: deque[Received] = deque()
        self._unreliable = 0
        self._unreliable_bytes = 0
        self._something = asyncio.Event()
        self._retained_at = 0.0
        self.dropped = 0

    def _arrived(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        del client, userdata
        if message.retain:
            self._retained_at = time.monotonic()
        if message.qos == 0:
            # The receive maximum bounds the others.
            size = self._unreliable_bytes + len(message.payload)
            if self._unreliable >= UNRELIABLE_LIMIT or size > UNRELIABLE_BYTES:
                self.dropped += 1
                return
            self._unreliable += 1
            self._unreliable_bytes = size
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        expires_s = getattr(message.properties, "MessageExpiryInterval", None)
        self._waiting.append(
            Received(
                topic,
                bytes(message.payload),
                bool(message.retain),
                expires_s,
                time.time_ns() // 1_000_000,
                message.mid if message.qos else 0,
            )
        )
        self._something.set()

    async def next_batch(self, limit: int, linger_s: float) -> list[Received]:
        """At least one message; up to `limit` of those that come within `linger_s`.

        Raises aiomqtt.MqttError when the connection is lost; what waited then comes again from the broker.
        """
        while not self._waiting:
            self._something.clear()
            waiter = asyncio.ensure_future(self._something.wait())
            try:
                await asyncio.wait((waiter, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
            self.check()
        if len(self._waiting) < limit:
            await asyncio.sleep(linger_s)
        batch = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        unreliable = [received for received in batch if not received.packet]
        self._unreliable -= len(unreliable)
        self._unreliable_bytes -= sum(len(received.payload) for received in unreliable)
        return batch

    def check(self) -> None:
        """Raises aiomqtt.MqttError when the connection is lost."""
        if self._disconnected.done():
            raise aiomqtt.MqttError("disconnected") from self._disconnected.exception()

    def acknowledge(self, batch: Iterable[Received]) -> None:
        """In the order of receipt, as MQTT has it; nothing once the connection is lost."""
        for received in batch:
            if received.packet and not self._disconnected.done():
                self._client.ack(received.packet, 1)

    async def subscribe_all(self) -> None:
        """To everything from boxes, shared with the other collectors."""
        filters = [(self._shared + filter_of(kind), 0 if kind is Kind.HEALTH else 1) for kind in WIRE]
        codes = await self.subscribe(filters)
        if any((code if isinstance(code, int) else code.value) >= 128 for code in codes):
            raise LinkError(
                "The broker does not let the collector subscribe.",
                hint="Its access list is what `veil-fleet broker-config` writes.",
            )

    async def read_kept(self) -> None:
        """What the broker has kept, which a shared subscription does not bring: keys, goodbyes, states."""
        for kind in _SNAPSHOT:
            await self._read(filter_of(kind))

    async def read_keys(self, devices: Iterable[str]) -> None:
        """The keys of single boxes, as the broker has kept them."""
        for device in devices:
            await self.subscribe(filter_of(Kind.KEYS, device), qos=0)
            await self.unsubscribe(filter_of(Kind.KEYS, device))

    async def _read(self, topics: str) -> None:
        end = time.monotonic() + _SNAPSHOT_S
        self._retained_at = time.monotonic()
        await self.subscribe(topics, qos=0)
        while time.monotonic() < min(end, self._retained_at + _QUIET_S):
            await asyncio.sleep(0.1)
        await self.unsubscribe(topics)

    async def say(self, outgoing: Iterable[Outgoing]) -> None:
        """Published, and taken by the broker. Raises aiomqtt.MqttError."""
        sends = [self.publish(item.topic, item.payload, qos=1, timeout=_PUBLISH_S) for item in outgoing]
        await asyncio.gather(*sends)
