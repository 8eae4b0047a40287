"""What a power cut left: `.part` files become recordings again or are set aside. Nothing is deleted."""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, cast

import av
from av.error import FFmpegError

from veil.errors import SinkError
from veil.host.disk import sync_directory
from veil.sinks.mp4_boxes import Layout, walk
from veil.sinks.segment_file import CLOSED, PART, free_path, full_or_broken, move_aside

_BLOCK: Final = 1 << 20


class RepairOutcome(StrEnum):
    """What became of a `.part`."""

    RECOVERED = "recovered"  # cut after its last whole fragment, plays, has its final name
    SET_ASIDE = "set_aside"  # no whole fragment, or it does not play
    IN_USE = "in_use"  # another process writes it; left alone


@dataclass(frozen=True, slots=True)
class Repaired:
    """One `.part`, for the evidence.

    Attributes:
        path: where it is now.
        sha256: of the recovered file; empty otherwise.
        size: bytes now; `lost`: bytes of the torn tail that were cut.
        frames, duration_s: in the recovered file.
    """

    outcome: RepairOutcome
    path: Path
    sha256: str
    size: int
    lost: int
    frames: int
    duration_s: float
    reason: str


def repair(directory: Path) -> list[Repaired]:
    """Looks at each `.part` in `directory`, oldest name first; to be called before a recorder starts there.

    Raises SinkError where the directory cannot be read or a file cannot be written; what was done until then
    stays done, and calling again goes on.
    """
    try:
        parts = sorted(directory.glob(f"*{PART}"))
        return [_repair(part) for part in parts if part.is_file()]
    except OSError as error:
        raise full_or_broken(error, f"recordings in {directory} cannot be repaired") from error


def _repair(part: Path) -> Repaired:
    with part.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Repaired(
                RepairOutcome.IN_USE, part, "", part.stat().st_size, 0, 0, 0.0, "is being written"
            )
        layout = walk(part)
        if not layout.fragments:
            return _aside(part, layout, "it holds no whole fragment")
        try:
            _check(part, layout)
        except SinkError as error:
            return _aside(part, layout, error.message)
        file.truncate(layout.whole)
        os.fsync(file.fileno())
        final = part.with_name(part.name.removesuffix(PART) + CLOSED)
        if final.exists():
            final = free_path(final.with_name(f"{final.stem}-recovered{CLOSED}"))
        part.rename(final)
        sync_directory(final.parent)
    return Repaired(
        RepairOutcome.RECOVERED,
        final,
        sha256_of(final),
        layout.whole,
        layout.size - layout.whole,
        layout.frames,
        layout.duration_s,
        "",
    )


def _aside(part: Path, layout: Layout, reason: str) -> Repaired:
    return Repaired(RepairOutcome.SET_ASIDE, move_aside(part), "", layout.size, 0, 0, 0.0, reason)


def _check(part: Path, layout: Layout) -> None:
    """Raises SinkError unless all pictures can be read, and all keyframes decoded."""
    try:
        with av.open(str(part), "r", format="mp4") as container:
            stream = container.streams.video[0]
            # A damaged description may name no codec that there is, which PyAV's types do not know.
            if cast(object, stream.codec_context) is None:
                raise SinkError("its description names no codec")
            stream.codec_context.skip_frame = "NONKEY"
            packets, keyframes, shown = 0, 0, 0
            for packet in container.demux(stream):
                if not packet.size:
                    shown += sum(1 for _ in packet.decode())
                    break
                packets += 1
                keyframes += packet.is_keyframe
                shown += sum(1 for _ in packet.decode())
                if packets == layout.frames:
                    break
            shown += sum(1 for _ in stream.codec_context.decode(None))
    except (FFmpegError, IndexError) as error:
        raise SinkError(f"it cannot be read: {error}") from error
    if packets < layout.frames or not keyframes or shown < keyframes:
        raise SinkError(f"only {packets} of {layout.frames} pictures can be read")


def sha256_of(path: Path) -> str:
    """Hex. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
