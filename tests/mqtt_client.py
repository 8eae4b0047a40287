"""A client for tests that says what the broker answered: reason codes, and every message that came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fleet_house import Broker, Credentials

LIMIT_S = 10.0
NOT_AUTHORISED = 135


@dataclass(frozen=True)
class Received:
    topic: str
    payload: bytes
    retained: bool


class RefusedError(Exception):
    """The broker did not let the client in: the CONNACK's code, or that the connection ended."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"refused: {code}")
        self.code = code


class Client:
    """One connection. Entering raises RefusedError where the broker ends it before or with its CONNACK."""

    def __init__(
        self,
        broker: Broker,
        credentials: Credentials,
        *,
        client_id: str = "test",
        port: int | None = None,
        keep_session: bool = False,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self.received: list[Received] = []
        self._acknowledged: dict[int, int] = {}
        self._granted: dict[int, int] = {}
        self._changed = threading.Condition()
        self._connack: int | None = None
        self._closed = False
        self._address = broker.host, port or broker.port_of(credentials.name)
        self._keep = keep_session
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.tls_set_context(credentials.tls())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        if will:
            client.will_set(will[0], will[1], qos=1, retain=True)
        self.mqtt = client

    def __enter__(self) -> Self:
        properties = Properties(PacketTypes.CONNECT)
        if self._keep:
            properties.SessionExpiryInterval = 3600
        host, port = self._address
        try:
            self.mqtt.connect(host, port, keepalive=30, clean_start=not self._keep, properties=properties)
        except OSError:
            raise RefusedError(None) from None
        self.mqtt.loop_start()
        self._wait(lambda: self._connack is not None or self._closed, "CONNACK")
        if self._connack != 0:
            self.mqtt.loop_stop()
            raise RefusedError(self._connack)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def vanish(self) -> None:
        """The connection ends without a DISCONNECT: the broker says the will."""
        sock = self.mqtt.socket()
        assert sock is not None
        sock.close()
        self.mqtt.loop_stop()

    def publish(self, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> int:
        """With QoS 1; the PUBACK's code: 0 and 16 (nobody listens) are yes."""
        with self._changed:
            number = self.mqtt.publish(topic, payload, qos=1, retain=retain).mid
        self._wait(lambda: number in self._acknowledged or self._closed, f"PUBACK for {topic}")
        return self._acknowledged.get(number, -1)

    def subscribe(self, topic: str) -> int:
        """With QoS 1; the SUBACK's code."""
        with self._changed:
            number = self.mqtt.subscribe(topic, qos=1)[1]
        assert number is not None
        self._wait(lambda: number in self._granted or self._closed, f"SUBACK for {topic}")
        return self._granted.get(number, -1)

    def wait_for(self, topic: str, limit_s: float = LIMIT_S) -> Received:
        self._wait(lambda: any(one.topic == topic for one in self.received), f"a message on {topic}", limit_s)
        return next(one for one in self.received if one.topic == topic)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Fails the test when `condition` does not come true; it is looked at whenever something came."""
        self._wait(condition, what)

    @property
    def closed(self) -> bool:
        """Whether the broker ended the connection."""
        return self._closed

    def wait_closed(self) -> None:
        self._wait(lambda: self._closed, "the end of the connection")

    def _wait(self, condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
        end = time.monotonic() + limit_s
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                assert left > 0, f"waited {limit_s:g} s for {what}"
                self._changed.wait(left)

    def _on_connect(self, _c: Any, _u: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._connack = reason.value
            self._changed.notify_all()

    def _on_disconnect(self, *_: Any) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _on_message(self, _c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.received.append(Received(message.topic, message.payload, message.retain))
            self._changed.notify_all()

    def _on_publish(self, _c: Any, _u: Any, number: int, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._acknowledged[number] = reason.value
            self._changed.notify_all()

    def _on_subscribe(self, _c: Any, _u: Any, number: int, reasons: list[ReasonCode], _p: Any) -> None:
        with self._changed:
            self._granted[number] = reasons[0].value
            self._changed.notify_all()
