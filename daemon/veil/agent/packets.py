"""What goes over the link, out and in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One PUBLISH of ours.

    Attributes:
        qos: 0 or 1.
        expiry_s: MQTT's message expiry; None for none.
        correlation: of the request that this answers.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """One PUBLISH to us, as it came: nothing in it is verified.

    Attributes:
        response_topic: where an answer is asked for; empty where none is.
        correlation: to be given back with the answer.
    """

    topic: str
    payload: bytes
    response_topic: str = ""
    correlation: bytes = b""
