"""The closed segments of a time range, as the lines of a camera's log say them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from veil.audit.event import Kind
from veil.errors import CommandError
from veil.messages.command import SegmentProof
from veil.messages.evidence import MAX_LINE_BYTES

MAX_SEGMENTS: Final = 256
MAX_BYTES: Final = 60_000
"""Of the lines as they stand in a response, with their quotes escaped."""

SCAN_S: Final = 5.0
_AROUND_A_LINE: Final = len('{"sequence":9007199254740991,"line":},')
_MARK: Final = f'"kind":"{Kind.SEGMENT_CLOSED}"'.encode()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Segments in the log's order. `more_after`: ask again with this as `after`; None when that was all."""

    segments: tuple[SegmentProof, ...]
    more_after: int | None


def read_manifest(log: Path, start_us: int, end_us: int, after: int | None) -> Manifest:
    """The segments that overlap `[start_us, end_us)` by the box's wall clock, microseconds since 1970.

    Stops when a message is full, or after `SCAN_S`: then it is asked again with `after`.

    Args:
        log: an events.jsonl; a torn last line is not read.
        after: only lines with a higher sequence number.

    Raises CommandError where the log cannot be read.
    """
    found: list[SegmentProof] = []
    size, seen = 0, after
    deadline = time.monotonic() + SCAN_S
    try:
        with log.open("rb") as file:
            if after is not None:
                _seek_behind(file, after)
            for number, line in enumerate(_whole_lines(file)):
                if number % 4096 == 4095 and time.monotonic() > deadline:
                    return Manifest(tuple(found), int(json.loads(line)["seq"]) - 1)
                if _MARK not in line:
                    continue
                proof = _segment(line, start_us, end_us)
                if proof is None:
                    continue
                cost = len(json.dumps(proof.line)) + _AROUND_A_LINE
                if len(found) == MAX_SEGMENTS or size + cost > MAX_BYTES:
                    return Manifest(tuple(found), seen)
                found.append(proof)
                size, seen = size + cost, proof.sequence
    except FileNotFoundError:
        raise CommandError("This camera has no log yet.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"The camera's log cannot be read: {type(error).__name__}.", hint="veil log verify says where."
        ) from error
    return Manifest(tuple(found), None)


def _segment(line: bytes, start_us: int, end_us: int) -> SegmentProof | None:
    """None for what is no segment of the range. Raises ValueError, KeyError, TypeError."""
    event = json.loads(line)
    if event["kind"] != Kind.SEGMENT_CLOSED:
        return None
    data = event["data"]
    if int(data["last_wall_us"]) < start_us or int(data["first_wall_us"]) >= end_us:
        return None
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("a line that is too long")
    return SegmentProof(sequence=event["seq"], line=line.decode())


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    for line in file:
        if not line.endswith(b"\n"):
            return
        yield line[:-1]


def _seek_behind(file: BinaryIO, after: int) -> None:
    """To the first line with a sequence number over `after`: lines are in its order."""
    low, high = 0, os.fstat(file.fileno()).st_size
    # Lines that begin before `low` are not over it; the first from `high` on is, or there is none.
    while low < high:
        middle = (low + high) // 2
        begin = _line_at(file, middle)
        line = file.readline() if begin < high else b""
        if line.endswith(b"\n") and int(json.loads(line)["seq"]) <= after:
            low = begin + len(line)
        else:
            high = middle
    file.seek(low)


def _line_at(file: BinaryIO, offset: int) -> int:
    """Goes to the first line that begins at `offset` or behind it; returns where that is."""
    if offset == 0:
        file.seek(0)
        return 0
    file.seek(offset - 1)
    file.readline()
    return file.tell()
