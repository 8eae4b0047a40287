"""The verifier: a folder of logs, or of one, held against docs/log-format.md. Offline, read-only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from veil.audit.canonical import NotCanonicalError, parse_line
from veil.audit.checkpoint import Checkpoint, origin_of
from veil.audit.evidence_files import opened, read_small
from veil.audit.findings import Found, Report, fail
from veil.audit.forms import LOG_NAME
from veil.audit.keyring import KeyRecord, Keyring, RecordError
from veil.audit.lines import Lines, LineTooLongError
from veil.audit.note import Note, VerifierKey
from veil.audit.verify_heads import Keys, check_signed, read_note
from veil.audit.verify_log import demand_signatures, verify_lines, verify_log
from veil.audit.witness import parse_witness_key
from veil.errors import KeyFormatError, NoteError, UsageError

_OF_A_LOG = ("events.jsonl", "checkpoints.jsonl", "cosigned")


@dataclass(frozen=True, slots=True)
class Demands:
    """What a folder is held against besides itself.

    Attributes:
        key: the box's key as it is known from elsewhere; it must be one of keys.jsonl.
        anchor: a signed note of one log, kept elsewhere.
        complete: lines that are not signed yet are a finding.
    """

    key: VerifierKey | None = None
    anchor: Note | None = None
    complete: bool = False


def read_anchor(path: Path) -> Note:
    """Raises UsageError for a file that is no signed note."""
    try:
        data = read_small(path)
        return Note.parse((data or b"").decode())
    except (Found, UnicodeDecodeError, NoteError):
        raise UsageError(
            f"{path} is no signed note.",
            hint="An anchor is a cosigned checkpoint, as the fleet manager gives it.",
        ) from None


def verify(folder: Path, demands: Demands = Demands()) -> Report:
    """Everything that is wrong in a folder; empty findings mean that it holds.

    Raises UsageError for a folder without a log.
    """
    logs, single = find_logs(folder)
    report = Report(key_pinned=demands.key is not None)
    if single and _logs_in(folder):
        # Whoever added the files of a log here would else hide what is below from us.
        report.add(Found("bad_field", "the folder is a log, and folders in it are logs too"))
    keys = _read_keys((_beside if single else _inside)(folder, "keys.jsonl"), report)
    if demands.key is not None and all(record.new != demands.key for record in keys.ring.records):
        report.add(Found("untrusted_key", "the pinned key is not one of the box's"))
    keys = Keys(
        keys.ring,
        _read_witnesses((_beside if single else _inside)(folder, "witness.vkeys"), report),
        keys.broken,
    )
    anchored, anchor = "", None
    if demands.anchor is not None:
        anchored, anchor = _place_anchor(demands.anchor, logs, keys, report)
    for log in sorted(logs):
        if not LOG_NAME.fullmatch(log):
            report.add(Found("bad_field", "the folder's name is no name of a log"), _printable(log))
        else:
            verify_log(logs[log], log, keys, anchor if log == anchored else None, report)
    if not single and not keys.broken:
        for log in sorted({name for record in keys.ring.records for name in record.sizes} - logs.keys()):
            report.add(Found("retired_key", "a rotation names this log, and it is not there"), log)
    if demands.complete:
        demand_signatures(report)
    return report


def verify_chain(path: Path) -> Report:
    """Of one events file on its own, such as `veil anonymize --evidence` writes: lines, sequence and chain.

    Nothing in it is signed. The log's name is taken from the first line.
    """
    report = Report()
    log = path.stem
    try:
        with opened(path) as file:
            first = parse_line(next(iter(Lines(file)), b"{}")).get("log")
            log = first if isinstance(first, str) and LOG_NAME.fullmatch(first) else log
    except (Found, NotCanonicalError, LineTooLongError):
        pass  # Found again, and said, where the lines are checked.
    verify_lines(path, log, report)
    return report


def find_logs(folder: Path) -> tuple[dict[str, Path], bool]:
    """The logs by name, and whether the folder itself is the one log. Raises UsageError without one."""
    try:
        logs = _logs_in(folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be read: {error.strerror}.", hint="Name a folder of logs."
        ) from None
    if _is_log(folder):
        return {folder.resolve().name: folder}, True
    if not logs:
        raise UsageError(
            f"There is no log in {folder}.", hint="Name STATE_DIR/log, or the folder of one log."
        )
    return logs, False


def _is_log(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in _OF_A_LOG)


def _logs_in(folder: Path) -> dict[str, Path]:
    return {child.name: child for child in folder.iterdir() if child.is_dir() and _is_log(child)}


def _inside(folder: Path, name: str) -> Path:
    return folder / name


def _beside(folder: Path, name: str) -> Path:
    """Of one log's folder: in it, else beside it."""
    inside = folder / name
    return inside if os.path.lexists(inside) else folder.resolve().parent / name


def _read_keys(path: Path, report: Report) -> Keys:
    """The records as far as they hold."""
    ring, number = Keyring(), 0
    try:
        with opened(path) as file:
            lines = Lines(file)
            for line in lines:
                number += 1
                ring.add(KeyRecord.parse(line))
            number += 1
            if lines.torn:
                fail("not_canonical", "keys.jsonl: the last line does not end")
        if not ring.records:
            fail("bad_field", "keys.jsonl has no line")
    except NotCanonicalError as error:
        report.add(Found("not_canonical", f"keys.jsonl: {error}"), line=number)
    except LineTooLongError:
        report.add(Found("not_canonical", "keys.jsonl: a line that is too long"), line=number + 1)
    except RecordError as error:
        report.add(Found(error.code, f"keys.jsonl: {error.message}"), line=number)
    except Found as found:
        report.add(found, line=0 if found.code == "unreadable" else number)
    else:
        return Keys(ring, (), broken=False)
    return Keys(ring, (), broken=True)


def _read_witnesses(path: Path, report: Report) -> tuple[VerifierKey, ...]:
    keys: list[VerifierKey] = []
    number = 0
    try:
        *lines, tail = (read_small(path) or b"").split(b"\n")
        for line in lines:
            number += 1
            keys.append(parse_witness_key(line.decode()))
        if tail:
            number += 1
            fail("not_canonical", "witness.vkeys: the last line does not end")
    except UnicodeDecodeError:
        report.add(Found("bad_key", "witness.vkeys: not UTF-8"), line=number)
    except KeyFormatError as error:
        report.add(Found("bad_key", f"witness.vkeys: {error.message}"), line=number)
    except Found as found:
        report.add(found, line=number)
    return tuple(keys)


def _place_anchor(
    note: Note, logs: dict[str, Path], keys: Keys, report: Report
) -> tuple[str, tuple[Note, Checkpoint] | None]:
    """The log that the anchor is for, and the anchor; None where that is already a finding."""
    log = ""
    try:
        _, checkpoint = read_note(note.encode())
        log = checkpoint.origin.rpartition("/")[2]
        if log in logs:
            return log, (note, checkpoint)
        check_signed(note, checkpoint, log, keys)
        if not LOG_NAME.fullmatch(log) or (
            keys.ring.records and checkpoint.origin != origin_of(keys.ring.device, log)
        ):
            fail("wrong_origin", "the anchor is not of a log of this box")
        fail("missing_events", f"the anchor's log, {log}, is not there")
    except Found as found:
        report.add(Found(found.code, f"anchor: {found.text}"), log if LOG_NAME.fullmatch(log) else "")
    return "", None


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:80]
