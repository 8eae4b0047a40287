"""Recordings, from the events that close, recover and delete them: rows for the search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from veil.audit.event import Kind, timestamp
from veil_fleet.collector.lines import Line

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FRAMES = ("frames_masked", "frames_whole", "frames_slate")
_NAMED_START = re.compile(r"-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})\.(\d{3})Z-\d{6,}\.mp4", re.ASCII)
_LAST_US = 253_402_300_800 * 1_000_000
"""The year 10000, which RFC 3339 cannot write."""


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
        "of_sha256": digest,
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
