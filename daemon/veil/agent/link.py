"""The box's one MQTT 5 connection: made again for ever, with a window, a will and bounded queues.

A thread of its own owns the connection. The agent's main loop publishes and reads `take`; so an agent that
hangs stops refreshing its status although the connection stands.
"""

from __future__ import annotations

import logging
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import paho.mqtt.client as mqtt
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from veil.agent.backoff import Backoff
from veil.agent.packets import Inbound, Outgoing
from veil.agent.refusal import lost, lost_soon, refused, silent, too_small, unreachable
from veil.errors import LinkError

WINDOW: Final = 32
"""Publishes with QoS 1 on their way at most; fewer where the broker's receive maximum says so."""
INBOUND_BYTES: Final = 64 * 1024
INBOX: Final = 256
SESSION_EXPIRY_S: Final = 300
CONNECT_S: Final = 15.0
UNACKNOWLEDGED_S: Final = 60.0
HELD_S: Final = 10.0
"""From then on a connection counts as good, and the next failure waits briefly again."""
OVERHEAD_BYTES: Final = 512
"""Of a packet over its payload: topic, properties, header."""

_LOG = logging.getLogger("veil.agent")
# What paho raises on what a broker should never send, besides its own errors.
_BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error, MQTTException)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Where to, as whom.

    Attributes:
        tls: asked before each connection; None of it: no TLS. Raises LinkError.
        will: what the broker says when the connection is lost.
        subscriptions: topic filters, QoS 1.
    """

    host: str
    port: int
    client_id: str
    keepalive_s: int
    tls: Callable[[], ssl.SSLContext | None]
    will: Outgoing
    subscriptions: tuple[str, ...]


class _Connection:
    """One connection, from CONNECT to its end. Sent and not acknowledged messages end with it."""

    def __init__(self, client: mqtt.Client) -> None:
        self.client = client
        self._began = time.monotonic()
        self.established = False
        self.window = WINDOW
        self.max_payload = INBOUND_BYTES - OVERHEAD_BYTES
        self.end: LinkError | None = None
        # Never held while paho is called: it calls back with locks of its own held.
        self._lock = threading.Lock()
        self._sent: dict[int, float] = {}
        self._early: set[int] = set()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def in_flight(self) -> int:
        with self._lock:
            return len(self._sent)

    def sent(self, number: int) -> None:
        with self._lock:
            if number in self._early:
                self._early.discard(number)
            else:
                self._sent[number] = time.monotonic()

    def acknowledged(self, number: int) -> None:
        """May come before `sent`."""
        with self._lock:
            if self._sent.pop(number, None) is None:
                self._early.add(number)

    def waits_s(self) -> float:
        """How long the oldest message has been waiting for its acknowledgement."""
        with self._lock:
            return time.monotonic() - min(self._sent.values()) if self._sent else 0.0


class Link:
    """A context manager; inside, the connection is made and made again.

    Args:
        wake: called from the link's thread when something came, was acknowledged, or the connection changed.
        told: called, likewise, with each failure once it changes; for one clear line in the journal.
    """

    def __init__(
        self,
        settings: LinkSettings,
        wake: Callable[[], None],
        told: Callable[[LinkError], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._settings = settings
        self._wake = wake
        self._told = told
        self._backoff = backoff or Backoff()
        self._stop = threading.Event()
        self._again = threading.Event()
        self._inbox: deque[Inbound] = deque()
        self._connection: _Connection | None = None
        self._last_told = ""
        self._thread = threading.Thread(target=self._work, name="link", daemon=True)
        self.generation = 0
        """Grows with each connection that was made."""
        self.dropped = 0
        """Messages to us that came while the inbox was full, or were no messages."""
        self.refused_publishes = 0
        """Publishes that the broker acknowledged with an error."""

    @property
    def alive(self) -> bool:
        """Whether there is still somebody who makes connections."""
        return self._thread.is_alive()

    @property
    def connected(self) -> bool:
        connection = self._connection
        return connection is not None and connection.established

    @property
    def room(self) -> int:
        """How many messages with QoS 1 can be sent now; 0 without a connection."""
        connection = self._connection
        if connection is None or not connection.established:
            return 0
        return max(0, connection.window - connection.in_flight)

    @property
    def in_flight(self) -> int:
        """Messages with QoS 1 that the broker has not acknowledged yet."""
        connection = self._connection
        return connection.in_flight if connection else 0

    @property
    def max_payload(self) -> int:
        """Bytes; what the broker takes, and never over what `INBOUND_BYTES` leaves for a payload."""
        connection = self._connection
        return connection.max_payload if connection else INBOUND_BYTES - OVERHEAD_BYTES

    def publish(self, message: Outgoing) -> bool:
        """False without a connection, without room in the window, or where the broker takes none so large.

        One thread's.
        """
        connection = self._connection
        if connection is None or not connection.established or len(message.payload) > connection.max_payload:
            return False
        if message.qos and not self.room:
            return False
        try:
            info = connection.client.publish(
                message.topic, message.payload, message.qos, message.retain, _properties(message)
            )
        except _BROKEN as error:
            _LOG.warning("a message for %s was not sent: %s", message.topic, type(error).__name__)
            return False
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        if message.qos:
            connection.sent(info.mid)
        return True

    def take(self) -> Inbound | None:
        """The oldest message that came."""
        try:
            return self._inbox.popleft()
        except IndexError:
            return None

    def try_again(self) -> None:
        """Where the next try is waited for, it comes now: what stood in its way may be gone."""
        self._again.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Says DISCONNECT, so that the broker does not say the will."""
        self._stop.set()
        self._again.set()
        self._thread.join(CONNECT_S)

    def drain(self, limit_s: float) -> bool:
        """Waits until all that was sent is acknowledged; whether it was."""
        end = time.monotonic() + limit_s
        while self.connected and time.monotonic() < end:
            if not self.in_flight:
                return True
            time.sleep(0.02)
        return False

    def _work(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self._again.clear()
            error = self._connect_once()
            if self._stop.is_set():
                return
            if time.monotonic() - began > HELD_S:
                self._backoff.reset()
            wait_s = self._backoff.next_s()
            if error.message != self._last_told:
                self._last_told = error.message
                self._told(error)
            if self._again.wait(wait_s):
                self._backoff.reset()

    def _connect_once(self) -> LinkError:
        """Until the connection ends; why it did."""
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            context = self._settings.tls()
        except LinkError as error:
            return error
        connection = _Connection(self._client(context))
        self._set_callbacks(connection, where)
        self._connection = connection
        try:
            connection.client.connect(
                self._settings.host,
                self._settings.port,
                self._settings.keepalive_s,
                # With a session, commands and receipts of a short absence are waiting at the broker.
                clean_start=False,
                properties=_connect_properties(),
            )
            return self._run(connection, where)
        except _BROKEN as error:
            return unreachable(error, where)
        finally:
            self._connection = None
            _close(connection.client)
            self._wake()

    def _run(self, connection: _Connection, where: str) -> LinkError:
        deadline = time.monotonic() + CONNECT_S
        while connection.client.loop(0.5) == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._stop.is_set():
                connection.client.disconnect()
                connection.client.loop(0.5)
                return LinkError("Stopped.")
            if connection.end is not None:
                return connection.end
            if not connection.established and time.monotonic() > deadline:
                return LinkError(
                    f"The broker {where} does not answer CONNECT.", hint="Is it an MQTT 5 broker?"
                )
            if connection.waits_s() > UNACKNOWLEDGED_S:
                return LinkError(
                    f"The broker {where} does not acknowledge what it gets.", hint="Look at its log."
                )
        if connection.end is not None:
            return connection.end
        if connection.established:
            return lost_soon(where) if connection.age_s < HELD_S else lost(where)
        return silent(where)

    def _client(self, context: ssl.SSLContext | None) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            self._settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        # The window is kept in `publish`: paho knows nothing of the broker's receive maximum.
        client.max_inflight_messages_set(0xFFFF)
        if context is not None:
            client.tls_set_context(context)
        will = self._settings.will
        client.will_set(will.topic, will.payload, will.qos, will.retain)
        # Makes `publish` leave the writing to the link's own thread.
        client.on_socket_register_write = lambda *_: None
        return client

    def _set_callbacks(self, connection: _Connection, where: str) -> None:
        """None of them raises: paho would end the loop in the middle of a packet."""

        def on_connect(
            _c: Any, _u: Any, _flags: Any, code: ReasonCode, properties: Properties | None
        ) -> None:
            if code.is_failure:
                connection.end = refused(code.value, where)
                return
            connection.window = max(1, min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)))
            largest = min(INBOUND_BYTES, getattr(properties, "MaximumPacketSize", INBOUND_BYTES))
            connection.max_payload = largest - OVERHEAD_BYTES
            if largest < INBOUND_BYTES:
                self._told(too_small(largest, where))
            topics = [(topic, SubscribeOptions(qos=1)) for topic in self._settings.subscriptions]
            if topics:
                connection.client.subscribe(topics)
            self.generation += 1
            connection.established = True
            self._last_told = ""
            self._wake()

        def on_disconnect(_c: Any, _u: Any, _flags: Any, code: ReasonCode, _p: Any) -> None:
            # Of paho's own making are 0x80 and what is no failure; the broker's words are the others.
            if connection.end is None and code.is_failure and code.value > 0x80:
                connection.end = refused(code.value, where)

        def on_publish(_c: Any, _u: Any, number: int, code: ReasonCode, _p: Any) -> None:
            connection.acknowledged(number)
            if code.is_failure:
                self.refused_publishes += 1
                self._tell_once(refused(code.value, where), "a message was refused")
            self._wake()

        def on_subscribe(_c: Any, _u: Any, _number: int, codes: list[ReasonCode], _p: Any) -> None:
            if any(code.is_failure for code in codes):
                self._tell_once(
                    LinkError("The broker does not let this box listen.", hint="Check its access list."), ""
                )

        def on_message(_c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
            try:
                came = _inbound(message)
            except _BROKEN:
                self.dropped += 1
                return
            if len(self._inbox) >= INBOX:
                self.dropped += 1
                return
            self._inbox.append(came)
            self._wake()

        client = connection.client
        client.on_connect = on_connect
        client.on_disconnect = on_disconnect
        client.on_publish = on_publish
        client.on_subscribe = on_subscribe
        client.on_message = on_message

    def _tell_once(self, error: LinkError, what: str) -> None:
        if error.message != self._last_told:
            self._last_told = error.message
            self._told(LinkError(f"{error.message} ({what})" if what else error.message, hint=error.hint))


def _inbound(message: mqtt.MQTTMessage) -> Inbound:
    """Raises one of `_BROKEN` for a topic that is no text."""
    properties = message.properties
    response = getattr(properties, "ResponseTopic", "")
    correlation = getattr(properties, "CorrelationData", b"")
    return Inbound(message.topic, bytes(message.payload), str(response), bytes(correlation))


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.MaximumPacketSize = INBOUND_BYTES
    properties.ReceiveMaximum = INBOX // 4
    return properties


def _properties(message: Outgoing) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1
    properties.ContentType = "application/json"
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    return properties


def _close(client: mqtt.Client) -> None:
    sock = client.socket()
    if sock is not None:
        try:
            sock.close()
        except OSError:
            _LOG.debug("closing the socket failed")
