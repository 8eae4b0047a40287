"""The end of a file of lines, read backwards: a long file, or a long torn tail, costs no memory."""

from __future__ import annotations

import os

_STEP = 1 << 16


def whole_bytes(descriptor: int, end: int) -> int:
    """How many of the first `end` bytes are whole lines. Raises OSError."""
    return _newline_before(descriptor, end) + 1


def last_line(descriptor: int, end: int, most: int) -> bytes | None:
    """The line that ends, with its newline, at `end`; None where there is none of at most `most` bytes."""
    if end <= 0:
        return None
    low = max(0, end - most - 2)
    text = os.pread(descriptor, end - low, low)
    if len(text) != end - low or not text.endswith(b"\n"):
        return None
    before = text.rfind(b"\n", 0, -1)
    if before < 0 and low > 0:
        return None
    line = text[before + 1 : -1]
    return line if len(line) <= most else None


def _newline_before(descriptor: int, end: int) -> int:
    while end > 0:
        low = max(0, end - _STEP)
        found = os.pread(descriptor, end - low, low).rfind(b"\n")
        if found >= 0:
            return low + found
        end = low
    return -1
