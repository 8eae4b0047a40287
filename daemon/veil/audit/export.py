"""A folder to hand out: logs, checkpoints, keys, proofs and the format's page; segments where asked for."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from veil.audit.blocks import BLOCK_LINES, Blocks
from veil.audit.canonical import NotCanonicalError
from veil.audit.event import Kind
from veil.audit.evidence_files import events_with, opened
from veil.audit.findings import Found
from veil.audit.heads import parse_head
from veil.audit.lines import Lines, piece
from veil.audit.proofs import inclusion_proof
from veil.audit.specification import specification
from veil.audit.tail import whole_bytes
from veil.audit.tree import leaf_hash
from veil.audit.verify import find_logs
from veil.errors import EvidenceError, NoteError, UsageError

_ATTEMPTS = 5
_CHUNK = 1 << 20
# As it stands in every canonical line of that kind; within strings quotes are escaped.
_CLOSED = f'"kind":"{Kind.SEGMENT_CLOSED}"'.encode()
_COLUMNS = ("log", "seq", "file", "sha256", "bytes", "first", "last", "copy")


@dataclass(frozen=True, slots=True)
class Span:
    """A time range, POSIX microseconds; `end` is not in it."""

    start_us: int
    end_us: int

    def holds(self, data: dict[str, Any]) -> bool:
        """Whether a segment's event has pictures of the range."""
        first, last = data.get("first_wall_us"), data.get("last_wall_us")
        return (
            isinstance(first, int) and isinstance(last, int) and first < self.end_us and last >= self.start_us
        )


@dataclass(slots=True)
class Segment:
    """A recording that the log names.

    Attributes:
        copy: what became of it: `not asked for`, `ok`, `missing`, `CHANGED`.
    """

    log: str
    sequence: int
    data: dict[str, Any]
    copy: str = "not asked for"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        folder: what `veil log verify` takes.
    """

    folder: Path
    segments: list[Segment]


def list_segments(source: Path, log: str | None, span: Span) -> list[Segment]:
    """The segments of a range, from the logs as they are. Raises UsageError, EvidenceError."""
    segments = []
    for name, folder in _chosen(source, log).items():
        for sequence, event in events_with(folder / "events.jsonl", _CLOSED):
            data = event.get("data")
            if event.get("kind") == Kind.SEGMENT_CLOSED and isinstance(data, dict) and span.holds(data):
                segments.append(Segment(name, sequence, data))
    return segments


def export(
    source: Path, out: Path, log: str | None, segments: list[Segment], recordings: Path | None
) -> Exported:
    """Writes the folder. The logs are copied whole: without their beginning nobody could check them.

    Args:
        source: of a box's logs, or of one log.
        log: only this one; the keys then lie in its folder.
        recordings: where the segments lie, in it or in NAME/; None to leave them.

    Raises UsageError, EvidenceError.
    """
    chosen = _chosen(source, log)
    single = log is not None or chosen == {source.resolve().name: source}
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is there and not empty.", hint="Name another folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = out / "evidence" if not single else out / "evidence" / next(iter(chosen))
        _copy_logs(source, chosen, folder, {name: folder if single else folder / name for name in chosen})
        for name in chosen:
            mine = [segment for segment in segments if segment.log == name]
            _write_proofs(folder if single else folder / name, out / "proofs" / f"{name}.jsonl", mine)
        (out / "log-format.md").write_text(specification(), encoding="utf-8")
        for segment in segments if recordings is not None else ():
            segment.copy = _copy_segment(recordings or out, out / "segments" / segment.log, segment)
        _write_table(out / "segments.csv", segments)
    except OSError as error:
        raise EvidenceError(f"{out} cannot be written: {error.strerror}.") from error
    except Found as found:
        raise EvidenceError(f"{source}: {found.text}.") from None
    return Exported(folder, segments)


def _chosen(source: Path, log: str | None) -> dict[str, Path]:
    logs, _ = find_logs(source)
    if log is None:
        return logs
    if log not in logs:
        raise UsageError(
            f"There is no log {log!r} in {source}.", hint=f"There are: {', '.join(sorted(logs))}."
        )
    return {log: logs[log]}


def _copy_logs(source: Path, logs: dict[str, Path], out: Path, places: dict[str, Path]) -> None:
    """In an order in which a box that goes on meanwhile leaves nothing that does not fit."""
    keys = next((at for at in (source, source.resolve().parent) if (at / "keys.jsonl").exists()), source)
    for _ in range(_ATTEMPTS):
        before = _bytes_of(keys / "keys.jsonl")
        for name, folder in logs.items():
            places[name].mkdir(parents=True, exist_ok=True)
            for file in ("cosigned", "checkpoints.jsonl", "events.jsonl"):
                if (folder / file).exists():
                    _copy_lines(folder / file, places[name] / file)
        for file in ("witness.vkeys", "keys.jsonl"):
            if (keys / file).exists():
                _copy_lines(keys / file, out / file)
        # A rotation in between: its record would not fit the checkpoints.
        if _bytes_of(keys / "keys.jsonl") == before:
            return


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _copy_lines(source: Path, target: Path) -> None:
    """Whole lines only."""
    with opened(source) as file, target.open("wb") as copy:
        end = whole_bytes(file.fileno(), os.fstat(file.fileno()).st_size)
        while end > 0 and (block := file.read(min(_CHUNK, end))):
            copy.write(block)
            end -= len(block)


def _write_proofs(folder: Path, path: Path, segments: list[Segment]) -> None:
    """For each segment: its line's inclusion in the last checkpoint."""
    path.parent.mkdir(exist_ok=True)
    heads = (folder / "checkpoints.jsonl").read_bytes().splitlines() if segments else []
    try:
        note, checkpoint = parse_head(heads[-1])
    except (IndexError, KeyError, NotCanonicalError, NoteError):
        note, checkpoint = None, None
    with path.open("w", encoding="ascii") as file, opened(folder / "events.jsonl") as events:
        size = 0 if checkpoint is None else checkpoint.size
        blocks = _blocks_of(folder / "events.jsonl", size)

        @lru_cache(maxsize=2)
        def read(block: int) -> list[bytes]:
            lines = Lines(piece(events.fileno(), blocks.start_of(block)))
            return [leaf_hash(line) for line, _ in zip(lines, range(BLOCK_LINES), strict=False)]

        # Neighbours' proofs are nearly the same: without this a proof costs as much as the log has blocks.
        @lru_cache(maxsize=4096)
        def range_root(first: int, end: int) -> bytes:
            return blocks.range_root(first, end, read)

        for segment in segments:
            said: dict[str, object] = {"seq": segment.sequence, "sha256": segment.data.get("sha256")}
            if note is None or segment.sequence >= min(size, blocks.size):
                said["problem"] = "no checkpoint was signed over it yet"
            else:
                hashes = inclusion_proof(segment.sequence, size, range_root)
                said["size"], said["path"] = size, [each.hex() for each in hashes]
                said["root"], said["checkpoint"] = blocks.frontier.root().hex(), note.encode()
            file.write(json.dumps(said, sort_keys=True) + "\n")


def _blocks_of(path: Path, size: int) -> Blocks:
    blocks, end = Blocks(), 0
    if size:
        with opened(path) as file:
            for line in Lines(file):
                end += len(line) + 1
                blocks.append(leaf_hash(line), end)
                if blocks.size == size:
                    break
    return blocks


def _copy_segment(recordings: Path, out: Path, segment: Segment) -> str:
    name = str(segment.data.get("file", ""))
    if not name or name != Path(name).name or name.startswith("."):
        return "missing"
    source = next((at for at in (recordings / segment.log / name, recordings / name) if at.is_file()), None)
    if source is None:
        return "missing"
    out.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as file, (out / name).open("wb") as copy:
        while block := file.read(_CHUNK):
            digest.update(block)
            copy.write(block)
    return "ok" if digest.hexdigest() == segment.data.get("sha256") else "CHANGED"


def _write_table(path: Path, segments: list[Segment]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        for segment in segments:
            data = segment.data
            times = [_time(data.get(key)) for key in ("first_wall_us", "last_wall_us")]
            known = [str(data.get(key, "")) for key in ("file", "sha256", "bytes")]
            table.writerow([segment.log, segment.sequence, *known, *times, segment.copy])


def _time(wall_us: object) -> str:
    if not isinstance(wall_us, int):
        return ""
    try:
        return datetime.fromtimestamp(wall_us / 1e6, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""
