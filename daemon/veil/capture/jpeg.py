"""A JPEG picture's size, read before anything is decoded."""

from __future__ import annotations

from typing import Final

_SOI: Final = 0xD8
_START_OF_SCAN: Final = 0xDA
_NO_FRAME_HEADER: Final = frozenset({0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})


def jpeg_size(data: memoryview) -> tuple[int, int] | None:
    """`(width, height)` from the frame header (ITU-T T.81 B.2.2), None without one before the scan."""
    if len(data) < 4 or data[0] != 0xFF or data[1] != _SOI:
        return None
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _WITHOUT_LENGTH:
            at += 2
            continue
        if marker == _START_OF_SCAN:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADER:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
