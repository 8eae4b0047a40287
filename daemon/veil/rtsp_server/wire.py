"""What camera processes and the RTSP server say to each other over a Unix stream socket. No I/O.

A message is its length (32 bits), its kind (8 bits) and the payload, in network order. A camera says `HELLO`
first and again for each new stream, then `PACKET`s; the server says `KEYFRAME` when a viewer waits for one.
`STATS` asks the server for its counts, which come back as JSON in a `STATS`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

LARGEST_PAYLOAD: Final = 16 << 20
_HEAD: Final = struct.Struct("!IB")
_PACKET: Final = struct.Struct("!qB")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_KEYFRAME: Final = 1


class ProtocolError(ValueError):
    """The other end does not speak this protocol; the connection is of no further use."""


class Kind(IntEnum):
    """Of a message."""

    HELLO = 1
    PACKET = 2
    KEYFRAME = 3
    STATS = 4


@dataclass(frozen=True, slots=True)
class Hello:
    """A camera's stream.

    Attributes:
        name: the mount point.
        parameter_sets: SPS and PPS, Annex B.
        slates: two keyframes (Annex B) to be sent in turn while there is nothing else to show.
    """

    name: str
    width: int
    height: int
    parameter_sets: bytes
    slates: tuple[bytes, bytes]

    def encode(self) -> bytes:
        """As a message."""
        said = {
            "name": self.name,
            "codec": "h264",
            "width": self.width,
            "height": self.height,
            "parameter_sets": base64.b64encode(self.parameter_sets).decode(),
            "slates": [base64.b64encode(slate).decode() for slate in self.slates],
        }
        return message(Kind.HELLO, json.dumps(said).encode())

    @staticmethod
    def decode(payload: bytes) -> Hello:
        """Raises ProtocolError for anything that is not a hello of a stream that can be served."""
        try:
            said = json.loads(payload)
            one, two = (base64.b64decode(slate, validate=True) for slate in said["slates"])
            hello = Hello(
                name=str(said["name"]),
                width=int(said["width"]),
                height=int(said["height"]),
                parameter_sets=base64.b64decode(said["parameter_sets"], validate=True),
                slates=(one, two),
            )
            codec = str(said["codec"])
        except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
            raise ProtocolError(f"not a hello: {error}") from error
        if codec != "h264" or not _NAME.fullmatch(hello.name):
            raise ProtocolError(f"a stream {hello.name[:40]!r} of {codec[:20]!r} cannot be served")
        if not all((hello.parameter_sets, one, two)) or hello.width < 2 or hello.height < 2:
            raise ProtocolError(f"the hello of {hello.name} lacks parameter sets, slates or a size")
        return hello


@dataclass(frozen=True, slots=True)
class Packet:
    """One access unit (Annex B) at its media time."""

    pts_ns: int
    keyframe: bool
    data: bytes

    def encode(self) -> bytes:
        """As a message."""
        return message(Kind.PACKET, _PACKET.pack(self.pts_ns, _KEYFRAME if self.keyframe else 0) + self.data)

    @staticmethod
    def decode(payload: bytes) -> Packet:
        """Raises ProtocolError for a payload without a picture."""
        if len(payload) <= _PACKET.size:
            raise ProtocolError("a packet without a picture")
        pts_ns, flags = _PACKET.unpack_from(payload)
        return Packet(pts_ns, bool(flags & _KEYFRAME), payload[_PACKET.size :])


def message(kind: Kind, payload: bytes = b"") -> bytes:
    """One message as bytes. Raises ProtocolError over the largest size."""
    if len(payload) > LARGEST_PAYLOAD:
        raise ProtocolError(f"a message of {len(payload)} bytes")
    return _HEAD.pack(len(payload), kind) + payload


class MessageReader:
    """Puts messages together from whatever pieces a socket gives. Holds one message at most."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """The messages that `data` completes. Raises ProtocolError for an unknown kind or a large size."""
        self._buffer += data
        messages: list[tuple[Kind, bytes]] = []
        offset = 0
        while len(self._buffer) - offset >= _HEAD.size:
            length, number = _HEAD.unpack_from(self._buffer, offset)
            try:
                kind = Kind(number)
            except ValueError as error:
                raise ProtocolError(f"a message of unknown kind {number}") from error
            if length > LARGEST_PAYLOAD:
                raise ProtocolError(f"a message of {length} bytes")
            end = offset + _HEAD.size + length
            if end > len(self._buffer):
                break
            messages.append((kind, bytes(self._buffer[offset + _HEAD.size : end])))
            offset = end
        del self._buffer[:offset]
        return messages
