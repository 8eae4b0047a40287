"""Takes supplemental messages that are broken, or of no use here, out of a video's packets.

Cameras write such messages that end too early (of types of their own, most often), and every player looks
past them. A decoder that is told to stop at errors gives up the whole picture instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

_START: Final = b"\x00\x00\x01"
_ESCAPED: Final = b"\x00\x00\x03"
_STOP: Final = 0x80
_OWN_TEXT: Final = 5
_OWN_TEXT_LEAST: Final = 16
# Of ITU-T H.264 and H.265, D.1: buffering period, picture timing, user data, recovery point, display
# orientation, hash of the decoded picture.
_OF_USE: Final = frozenset({0, 1, _OWN_TEXT, 6, 47, 132})


@dataclass(frozen=True, slots=True)
class _Codec:
    """`filler`: a type of unit that every decoder skips; `header`: bytes before a unit's content;
    `length_at`: where the extradata says how long lengths are."""

    messages: frozenset[int]
    filler: int
    header: int
    length_at: int

    def kind(self, first: int) -> int:
        return first & 31 if self.header == 1 else first >> 1 & 63

    def as_filler(self, first: int) -> int:
        return first & 0xE0 | self.filler if self.header == 1 else first & 0x81 | self.filler << 1


_CODECS: Final = {
    "h264": _Codec(frozenset({6}), 12, 1, 4),
    "hevc": _Codec(frozenset({39, 40}), 38, 2, 21),
}


class SeiFilter:
    """For one stream of H.264 or H.265; leaves those of other codecs alone."""

    def __init__(self, context: VideoCodecContext) -> None:
        self._codec = _CODECS.get(context.name)
        head = context.extradata or b""
        at = self._codec.length_at if self._codec else 0
        # Where the extradata begins with 1, units have their length before them, else a start code.
        self._length_bytes = (head[at] & 3) + 1 if len(head) > at and head[0] == 1 else 0

    def clean(self, packet: Packet[Any]) -> None:
        """Turns each unit of messages that a decoder could refuse into filler, in the packet itself."""
        if self._codec is None or not packet.size:
            return
        data = bytes(packet)
        units = self._with_lengths(data) if self._length_bytes else _with_start_codes(data)
        for begin, end in units:
            if begin < end and self._codec.kind(data[begin]) in self._codec.messages:
                content = data[begin + self._codec.header : end]
                if not _is_sound(content):
                    memoryview(packet)[begin] = self._codec.as_filler(data[begin])

    def _with_lengths(self, data: bytes) -> Iterator[tuple[int, int]]:
        at = 0
        while at + self._length_bytes < len(data):
            begin = at + self._length_bytes
            at = begin + int.from_bytes(data[at:begin])
            yield begin, min(at, len(data))


def _with_start_codes(data: bytes) -> Iterator[tuple[int, int]]:
    begin = data.find(_START)
    while begin >= 0:
        begin += len(_START)
        following = data.find(_START, begin)
        yield begin, len(data) if following < 0 else following
        begin = following


def _is_sound(content: bytes) -> bool:
    """Whether all messages of a unit are whole, and of a kind that is used here."""
    data = content.replace(_ESCAPED, _ESCAPED[:2]).rstrip(b"\x00")
    at = 0
    while at < len(data):
        if at and data[at:] == bytes([_STOP]):
            return True
        kind, at = _number(data, at)
        size, at = _number(data, at)
        at += size
        if kind not in _OF_USE or at > len(data) or (kind == _OWN_TEXT and size < _OWN_TEXT_LEAST):
            return False
    return False


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number in bytes of 255 and one below, and where it ends."""
    number = 0
    while at < len(data) and data[at] == 255:
        number, at = number + 255, at + 1
    return (number + data[at], at + 1) if at < len(data) else (number, at + 1)
