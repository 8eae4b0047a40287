"""An audit bundle: a box's logs with cosigned checkpoints, keys and proofs, as a zip made piece by piece.

The folder in it is as docs/log-format.md has it; its checkpoint files are witnessed files.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, select

from veil.audit.canonical import dump
from veil.audit.note import VerifierKey
from veil.audit.specification import specification
from veil.errors import EvidenceError, UsageError
from veil_fleet.evidence_proofs import Covering, Stretch, as_json, covering, lines_of, stretch_of
from veil_fleet.store.tables import Checkpoint, Device, Log, Segment

_BATCH: Final = 1000
_LEVEL: Final = 3
"""Of deflate: hashes do not get smaller, whatever the effort."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is exported: the whole evidence of `device`, with proofs for the segments between two times.

    Attributes:
        start, end: RFC 3339 in UTC with microseconds.
    """

    device: str
    start: str
    end: str
    made_ms: int

    @property
    def name(self) -> str:
        """Of the folder, and of the zip without its ending."""
        made = datetime.fromtimestamp(self.made_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"veil-{self.device}-{made}"


@dataclass(frozen=True, slots=True)
class _LogState:
    """A log as it was when the export began; what comes later is left out."""

    name: str
    stored: int
    cosigned: int


def export(engine: Engine, wanted: Wanted, witnesses: Sequence[VerifierKey]) -> Iterator[bytes]:
    """The zip, in pieces. Raises UsageError at once for a box that is not there or has sent nothing.

    A failure midway ends the pieces before the zip's directory is written: what came cannot be opened.
    """
    keys, logs = _state(engine, wanted.device)
    if not witnesses and any(log.cosigned for log in logs):
        raise UsageError(
            "The witness's key is not on this machine, so nobody could check the cosignatures.",
            hint="Copy witness.key, or its verifier key into witness.vkeys, to the fleet's folder.",
        )
    return _pieces(engine, wanted, witnesses, keys, logs)


def _state(engine: Engine, device: str) -> tuple[str, list[_LogState]]:
    with engine.connect() as connection:
        keys = connection.scalar(select(Device.keys).where(Device.name == device))
        rows = connection.execute(
            select(Log.name, Log.stored_size, Log.cosigned_size)
            .where(Log.device == device, Log.stored_size > 0)
            .order_by(Log.name)
        ).all()
    if keys is None:
        raise UsageError(f"There is no box {device!r}.")
    if not keys or not rows:
        raise UsageError(f"{device} has sent no evidence yet.", hint="Export it once it has shown its key.")
    return keys, [_LogState(*row) for row in rows]


def _pieces(
    engine: Engine, wanted: Wanted, witnesses: Sequence[VerifierKey], keys: str, logs: Sequence[_LogState]
) -> Iterator[bytes]:
    sink = _Sink()
    moment = datetime.fromtimestamp(wanted.made_ms / 1000, UTC).timetuple()[:6]

    def write(path: str, content: Iterable[bytes]) -> Iterator[bytes]:
        info = zipfile.ZipInfo(f"{wanted.name}/{path}", moment)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        with archive.open(info, "w", force_zip64=True) as file:
            for part in content:
                file.write(part)
                yield from sink.take()
        yield from sink.take()

    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        yield from write("README.txt", [_readme(wanted).encode()])
        yield from write("log-format.md", [specification().encode()])
        yield from write("keys.jsonl", [keys.rstrip("\n").encode() + b"\n"])
        if witnesses:
            yield from write("witness.vkeys", [f"{key}\n".encode() for key in witnesses])
        for log in logs:
            yield from write(f"{log.name}/events.jsonl", _events(engine, wanted.device, log))
            yield from write(f"{log.name}/checkpoints.jsonl", _checkpoints(engine, wanted.device, log))
            cosigned = _note_at(engine, wanted.device, log)
            if cosigned:
                yield from write(f"{log.name}/cosigned", [cosigned.encode()])
        yield from write("segments.csv", _segments(engine, wanted, logs))
        for log in logs:
            yield from write(f"proofs/{log.name}.jsonl", _proofs(engine, wanted, log))
    yield from sink.take()


class _Sink(io.RawIOBase):
    """Keeps what was written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        if parts:
            yield b"".join(parts)


def _events(engine: Engine, device: str, log: _LogState) -> Iterator[bytes]:
    # A connection for each batch: a slow reader must not hold a transaction open. Stored lines never change.
    for first in range(0, log.stored, _BATCH):
        with engine.connect() as connection:
            lines = list(lines_of(connection, device, log.name, first, min(log.stored, first + _BATCH)))
        yield b"".join(line + b"\n" for _, line in lines)


def _checkpoints(engine: Engine, device: str, log: _LogState) -> Iterator[bytes]:
    after = 0
    while True:
        with engine.connect() as connection:
            rows = connection.execute(
                select(Checkpoint.size, Checkpoint.note)
                .where(
                    Checkpoint.device == device,
                    Checkpoint.log == log.name,
                    Checkpoint.size > after,
                    Checkpoint.size <= log.cosigned,
                )
                .order_by(Checkpoint.size)
                .limit(_BATCH)
            ).all()
        if not rows:
            return
        after = rows[-1].size
        yield b"".join(dump({"note": row.note}) + b"\n" for row in rows)


def _note_at(engine: Engine, device: str, log: _LogState) -> str | None:
    with engine.connect() as connection:
        return connection.scalar(
            select(Checkpoint.note).where(
                Checkpoint.device == device, Checkpoint.log == log.name, Checkpoint.size == log.cosigned
            )
        )


_COLUMNS: Final = (
    "camera", "start", "end", "file", "bytes", "frames", "sha256", "sequence", "deleted_sequence",
    "deleted_sha256",
)  # fmt: skip


def _segments(engine: Engine, wanted: Wanted, logs: Sequence[_LogState]) -> Iterator[bytes]:
    yield ",".join(_COLUMNS).encode() + b"\n"
    for log in logs:
        for rows in _segment_rows(engine, wanted, log.name, log.stored):
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            for row in rows:
                deleted = "" if row.deleted_seq is None else row.deleted_seq
                writer.writerow(
                    [
                        log.name,
                        row.start,
                        row.end,
                        _cell(row.file),
                        row.size,
                        row.frames,
                        row.sha256,
                        row.seq,
                        deleted,
                        row.deleted_sha256 or "",
                    ]
                )
            yield text.getvalue().encode()


def _cell(text: str) -> str:
    # What begins so is a formula to a spreadsheet.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _segment_rows(engine: Engine, wanted: Wanted, camera: str, below: int) -> Iterator[Sequence[Segment]]:
    """Rows of `segments` in the range, of lines under `below`, in order of their lines."""
    after = -1
    while True:
        with engine.connect() as connection:
            rows = connection.execute(
                select(*Segment.__table__.columns)
                .where(
                    Segment.device == wanted.device,
                    Segment.camera == camera,
                    Segment.seq > after,
                    Segment.seq < below,
                    Segment.start <= wanted.end,
                    Segment.end >= wanted.start,
                )
                .order_by(Segment.seq)
                .limit(_BATCH)
            ).all()
        if not rows:
            return
        after = rows[-1].seq
        yield rows  # type: ignore[misc]


def _proofs(engine: Engine, wanted: Wanted, log: _LogState) -> Iterator[bytes]:
    """A line for each segment: its proof, and the cosigned checkpoint that it leads to."""
    over: Covering | None = None
    stretch: Stretch | None = None
    problem = ""
    for rows in _segment_rows(engine, wanted, log.name, log.stored):
        made = []
        for row in rows:
            if row.seq >= log.cosigned:
                stretch, problem = None, "no checkpoint was cosigned over it yet"
            elif over is None or row.seq >= over.size:
                with engine.connect() as connection:
                    over = covering(connection, wanted.device, log.name, row.seq)
                    stretch, problem = None, "no checkpoint was cosigned over it yet"
                    if over is not None:
                        try:
                            stretch, problem = stretch_of(connection, wanted.device, log.name, over), ""
                        except EvidenceError as error:
                            problem = str(error)
            if over is None or stretch is None:
                made.append({"seq": row.seq, "sha256": row.sha256, "problem": problem})
            else:
                proof = as_json(stretch.prove(row.seq))
                made.append({**proof, "sha256": row.sha256, "checkpoint": over.note})
        yield "".join(json.dumps(each, sort_keys=True) + "\n" for each in made).encode()


def _readme(wanted: Wanted) -> str:
    return f"""Evidence of the box {wanted.device}, exported by its fleet manager.

keys.jsonl, witness.vkeys, NAME/   the logs, as log-format.md describes them. NAME/checkpoints.jsonl holds the
                                   checkpoints that the fleet manager's witness cosigned (a witnessed file).
segments.csv                       the recordings between {wanted.start} and {wanted.end}; a deleted_sha256
                                   other than sha256 says that it was altered before it was deleted
proofs/NAME.jsonl                  for each of them: the inclusion proof of its line (RFC 6962, hashes in hex,
                                   from the leaf upwards), and the cosigned checkpoint that it leads to
log-format.md                      the format, from which a verifier can be written

To verify it:  veil log verify .
               Add --key with the box's key, as you were given it in another way.
To hold a recording against it:  sha256sum FILE. The hash stands in segments.csv and in its line of the log.
"""
