"""Recordings, from the events that close, recover and delete them: rows for the search.

A deletion names its recording by camera and file, and says the hash of what was really on disk: another one
than at its closing is an alarm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeGuard

from sqlalchemy import Connection, and_, bindparam, select, tuple_, update

from veil.audit.event import Kind, timestamp
from veil_fleet.collector.alarms import AlarmKind, Raised
from veil_fleet.collector.lines import Line
from veil_fleet.collector.logbook import Book
from veil_fleet.store.dialect import insert_into
from veil_fleet.store.tables import LogLine, Segment

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FRAMES = ("frames_masked", "frames_whole", "frames_slate")
_NAMED_START = re.compile(r"-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})\.(\d{3})Z-\d{6,}\.mp4", re.ASCII)
_LAST_US = 253_402_300_800 * 1_000_000
"""The year 10000, which RFC 3339 cannot write."""

_STEP: Final = 500
"""Recordings asked for at once: databases bound the values of a statement."""


def write_segments(connection: Connection, books: Iterable[Book]) -> list[Raised]:
    """The rows that follow from the lines that became whole; alarms of recordings that were altered."""
    made: list[dict[str, Any]] = []
    gone: list[dict[str, Any]] = []
    lines: dict[tuple[str, str, int], str] = {}
    for book in books:
        # In their order, so that a deletion always finds what it deletes.
        for line in book.whole:
            if row := opened(book.device, book.log, line):
                made.append(row)
            elif row := deleted(book.device, book.log, line):
                gone.append(row)
                lines[book.device, book.log, line.sequence] = line.text
    if made:
        connection.execute(insert_into(connection, Segment).on_conflict_do_nothing(), made)
    if not gone:
        return []
    connection.execute(
        update(Segment)
        .where(
            Segment.device == bindparam("of_device"),
            Segment.camera == bindparam("of_camera"),
            Segment.file == bindparam("of_file"),
            Segment.seq < bindparam("by_seq"),
            Segment.deleted_seq.is_(None),
        )
        .values(deleted_seq=bindparam("by_seq"), deleted_sha256=bindparam("as_sha256")),
        gone,
    )
    return [_altered(row, lines[key]) for row, key in _differing(connection, gone) if key in lines]


def _differing(
    connection: Connection, gone: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Any, tuple[str, str, int]]]:
    """Of recordings that are gone, those that were not what was closed; with the line that deleted them."""
    names = [(row["of_device"], row["of_camera"], row["of_file"]) for row in gone]
    for start in range(0, len(names), _STEP):
        rows: Iterable[Any] = connection.execute(
            select(*Segment.__table__.columns, LogLine.line)
            .outerjoin(
                LogLine,
                and_(
                    LogLine.device == Segment.device,
                    LogLine.log == Segment.camera,
                    LogLine.seq == Segment.seq,
                ),
            )
            .where(
                tuple_(Segment.device, Segment.camera, Segment.file).in_(names[start : start + _STEP]),
                Segment.deleted_sha256 != Segment.sha256,
            )
            .order_by(Segment.device, Segment.camera, Segment.seq)
        )
        for row in rows:
            yield row, (row.device, row.camera, row.deleted_seq)


def _altered(row: Any, deletion: str) -> Raised:
    return Raised(
        row.device,
        row.camera,
        AlarmKind.ALTERED_RECORDING,
        f"A recording was altered before it was deleted: {row.file} had another SHA-256 at its deletion "
        f"(line {row.deleted_seq}) than at its closing (line {row.seq}).",
        {
            "file": row.file,
            "sha256_closed": row.sha256,
            "sha256_deleted": row.deleted_sha256,
            "closed": row.line or "",
            "deleted": deletion,
        },
    )


def opened(device: str, log: str, line: Line) -> dict[str, Any] | None:
    """The row of `segments` for an event that says a recording is there; None for any other event.

    None too where the event lacks what a row needs: it stays in the log, the search does not find it.
    """
    data = line.data
    file, digest, size = data.get("file"), data.get("sha256"), data.get("bytes")
    if not _is_file(file) or not isinstance(digest, str) or not _SHA256.fullmatch(digest) or not _count(size):
        return None
    if line.kind == Kind.SEGMENT_CLOSED:
        start, end = _time(data, "first_wall_us"), _time(data, "last_wall_us")
        frames = sum(data[key] for key in _FRAMES if _count(data.get(key)))
    elif line.kind == Kind.SEGMENT_RECOVERED:
        # After a power cut only its name says when it began, and nothing when it ended.
        start = end = _start_in_name(file) or line.time
        frames = data["frames"] if _count(data.get("frames")) else 0
    else:
        return None
    if not start or not end:
        return None
    return {
        "device": device,
        "camera": log,
        "seq": line.sequence,
        "file": file,
        "sha256": digest,
        "size": size,
        "start": start,
        "end": end,
        "frames": min(frames, 2**31 - 1),
        "deleted_seq": None,
        "deleted_sha256": None,
    }


def deleted(device: str, log: str, line: Line) -> dict[str, Any] | None:
    """Which recording an event says was deleted: parameters of the update; None for any other event."""
    file, digest = line.data.get("file"), line.data.get("sha256")
    if line.kind != Kind.SEGMENT_DELETED or not _is_file(file) or not isinstance(digest, str):
        return None
    if not _SHA256.fullmatch(digest):
        return None
    return {
        "of_device": device,
        "of_camera": log,
        "of_file": file,
        "as_sha256": digest,
        "by_seq": line.sequence,
    }


def _is_file(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= 255 and "\0" not in value


def _start_in_name(file: str) -> str:
    match = _NAMED_START.search(file)
    if match is None:
        return ""
    year, month, day, hour, minute, second, millis = match.groups()
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}.{millis}000Z"


def _count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _time(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, int) or not 0 <= value < _LAST_US:
        return ""
    return timestamp(value * 1000)
