"""Old recordings leave by age and by space, oldest first, and each leaves a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from veil.config import RecorderConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import SinkError
from veil.host.clock import CLOCK_WAS_SET_NS
from veil.host.disk import sync_directory
from veil.sinks.repair import sha256_of
from veil.sinks.segment_file import CLOSED, full_or_broken, segment_number, segment_start_ns

_DAY_NS: Final = 86_400 * NANOSECONDS
_GIBIBYTE: Final = 1 << 30


class RetentionReason(StrEnum):
    """Why a recording was deleted."""

    AGE = "age"
    SPACE = "space"


@dataclass(frozen=True, slots=True)
class SegmentDeleted:
    """One recording that is gone, for the evidence. `sha256` is of what was really on disk."""

    path: Path
    size: int
    sha256: str
    reason: RetentionReason


@dataclass(frozen=True, slots=True)
class _Held:
    path: Path
    number: int
    start_ns: int
    size: int


def retain(
    config: RecorderConfig,
    directory: Path,
    clock: Clock,
    on_deleted: Callable[[SegmentDeleted], None],
) -> list[SegmentDeleted]:
    """Deletes recordings of one camera that are too old or too much; never a `.part`, never the newest.

    Args:
        on_deleted: called before each deletion, so that a trace is written first; when it raises, nothing of
            that file is deleted.

    Raises SinkError where a file cannot be read or deleted.
    """
    try:
        held = _closed(directory)
        deleted = [
            _delete(one, reason, on_deleted) for one, reason in _surplus(config, held, clock.wall_ns())
        ]
        if deleted:
            sync_directory(directory)
    except OSError as error:
        raise full_or_broken(error, f"old recordings in {directory} cannot be deleted") from error
    return deleted


def _closed(directory: Path) -> list[_Held]:
    """Oldest first: by number, because the wall clock may have stepped between two recordings."""
    if not directory.is_dir():
        return []
    held = []
    for path in directory.glob(f"*{CLOSED}"):
        number, start_ns = segment_number(path.name), segment_start_ns(path.name)
        if number is not None and start_ns is not None and path.is_file() and not path.is_symlink():
            held.append(_Held(path, number, start_ns, path.stat().st_size))
    return sorted(held, key=lambda one: (one.number, one.start_ns))


def _surplus(config: RecorderConfig, held: list[_Held], now_ns: int) -> list[tuple[_Held, RetentionReason]]:
    oldest_ns = now_ns - int(config.keep_days * _DAY_NS)
    allowed = int(config.keep_gib * _GIBIBYTE)
    total = sum(one.size for one in held)
    surplus: list[tuple[_Held, RetentionReason]] = []
    for one, made_ns in list(zip(held, _made_ns(held, now_ns), strict=True))[:-1]:
        if made_ns < oldest_ns:
            surplus.append((one, RetentionReason.AGE))
        elif total > allowed:
            surplus.append((one, RetentionReason.SPACE))
        else:
            continue
        total -= one.size
    return surplus


def _made_ns(held: list[_Held], now_ns: int) -> list[int]:
    """When each was made, as far as the ones after it allow: no recording is younger than its successors.

    What was recorded before the clock was set is as old as the first recording after that.
    """
    made, least = [], now_ns
    for one in reversed(held):
        if one.start_ns >= CLOCK_WAS_SET_NS:
            least = min(least, one.start_ns)
        made.append(least)
    return made[::-1]


def _delete(
    one: _Held, reason: RetentionReason, on_deleted: Callable[[SegmentDeleted], None]
) -> SegmentDeleted:
    deleted = SegmentDeleted(one.path, one.size, sha256_of(one.path), reason)
    on_deleted(deleted)
    try:
        one.path.unlink()
    except FileNotFoundError as error:
        raise SinkError(f"{one.path.name} vanished while it was being deleted.") from error
    return deleted
