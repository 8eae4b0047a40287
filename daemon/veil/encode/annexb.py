"""H.264 byte streams (ITU-T H.264 Annex B): NAL units, parameter sets, what must not be carried along."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

_START: Final = re.compile(b"\x00\x00\x01")
START_CODE: Final = b"\x00\x00\x00\x01"


class NalType(IntEnum):
    """`nal_unit_type`, ITU-T H.264 table 7-1; the ones that are told apart here."""

    SLICE = 1
    IDR = 5
    SEI = 6
    SPS = 7
    PPS = 8
    DELIMITER = 9
    FILLER = 12


PARAMETER_SETS: Final = frozenset({NalType.SPS, NalType.PPS})
_PICTURE: Final = frozenset({1, 2, 3, 4, 5})


def nal_type(nal: bytes) -> int:
    """`nal_unit_type` of a NAL unit without its start code."""
    return nal[0] & 0x1F


def split(stream: bytes) -> list[bytes]:
    """The NAL units of an Annex B stream, without start codes and trailing zeros; empty ones left out."""
    starts = [(match.start(), match.end()) for match in _START.finditer(stream)]
    ends = [start for start, _ in starts] + [len(stream)]
    units = (stream[begin:end].rstrip(b"\x00") for (_, begin), end in zip(starts, ends[1:], strict=True))
    return [unit for unit in units if unit]


def join(units: Iterable[bytes]) -> bytes:
    """An Annex B stream with four-byte start codes."""
    return b"".join(START_CODE + unit for unit in units)


def parameter_sets(stream: bytes) -> bytes:
    """SPS and PPS of a stream, as Annex B; empty where there are none."""
    return join(unit for unit in split(stream) if nal_type(unit) in PARAMETER_SETS)


def access_unit(stream: bytes, before_keyframe: bytes) -> bytes:
    """Only the coded slices of `stream`, and `before_keyframe` (parameter sets) in front where they are IDR.

    SEI (encoder names, user data), delimiters and filler are not carried over.
    """
    pictures = [unit for unit in split(stream) if nal_type(unit) in _PICTURE]
    head = before_keyframe if any(nal_type(unit) == NalType.IDR for unit in pictures) else b""
    return head + join(pictures)
