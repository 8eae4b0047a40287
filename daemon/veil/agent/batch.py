"""Lines of a log packed into messages, by bytes."""

from __future__ import annotations

from collections.abc import Iterable

from veil.messages.evidence import MAX_LINES

ENVELOPE_BYTES = 256
"""Of a LogEntries besides its lines."""


def quoted_bytes(line: str) -> int:
    """The length of a canonical line as a JSON string, with its comma. It holds no raw control characters."""
    return len(line.encode()) + line.count('"') + line.count("\\") + 3


def fitting(lines: Iterable[str], max_payload: int) -> tuple[str, ...]:
    """As many of the first lines as fit into one message of `max_payload` bytes; one at least."""
    taken: list[str] = []
    room = max_payload - ENVELOPE_BYTES
    for line in lines:
        room -= quoted_bytes(line)
        if taken and (room < 0 or len(taken) == MAX_LINES):
            break
        taken.append(line)
    return tuple(taken)
