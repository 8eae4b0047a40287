"""Evidence on its way: log lines, checkpoints, keys, and the fleet manager's receipt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from veil.messages.base import Count, LogName, Message, SignedNote

MAX_LINES = 256
MAX_LINE_BYTES = 16 * 1024


class LogEntries(Message):
    """`veil/DEVICE/log/NAME`: consecutive lines of a log.

    Attributes:
        first: sequence number of the first line.
        lines: as in events.jsonl, without newlines.
    """

    log: LogName
    first: Count
    lines: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_LINE_BYTES)], ...],
        Field(min_length=1, max_length=MAX_LINES),
    ]


class CheckpointNote(Message):
    """`veil/DEVICE/checkpoint/NAME`, and back on `cosign/NAME` with the witness's line."""

    log: LogName
    note: SignedNote


class Keys(Message):
    """`veil/DEVICE/keys`, retained: the lines of keys.jsonl."""

    records: Annotated[
        tuple[Annotated[str, Field(max_length=4096)], ...], Field(min_length=1, max_length=256)
    ]


class Resend(Message):
    """`veil/DEVICE/resend/NAME`: the fleet manager lacks these lines.

    Attributes:
        first: sequence number.
        count: how many, at most; the box sends what it has.
    """

    log: LogName
    first: Count
    count: Annotated[int, Field(ge=1, le=100_000)]
