"""Verifies one log: its lines, its checkpoints, the cosigned one, and what was kept elsewhere. Streaming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from veil.audit.canonical import NotCanonicalError, parse_line
from veil.audit.checkpoint import Checkpoint
from veil.audit.evidence_files import opened, read_small
from veil.audit.fields import fault_in
from veil.audit.findings import Found, LogCounts, Report, fail
from veil.audit.lines import Lines, LineTooLongError
from veil.audit.note import Note
from veil.audit.tree import HASH_BYTES, Frontier, leaf_hash
from veil.audit.verify_heads import Head, HeadReader, Keys, check_signed, check_witnesses, read_note


@dataclass(slots=True)
class _Kept:
    """A signed note beside the checkpoints: `cosigned`, or the anchor."""

    what: str
    note: Note | None = None
    checkpoint: Checkpoint | None = None
    found: Found | None = None
    root: bytes | None = None

    def fail(self, found: Found) -> None:
        if self.found is None:
            self.found = Found(found.code, f"{self.what}: {found.text}")


@dataclass(slots=True)
class _Events:
    """The lines as far as they were read.

    Attributes:
        found: the first finding, in line `size + 1`.
    """

    tree: Frontier = field(default_factory=Frontier)
    found: Found | None = None
    torn: int = 0


def verify_log(
    folder: Path, log: str, keys: Keys, anchor: tuple[Note, Checkpoint] | None, report: Report
) -> None:
    """Adds to the report what is found in the log in `folder`; in memory that does not grow with it."""
    heads = HeadReader(folder / "checkpoints.jsonl", log, keys)
    cosigned, kept_elsewhere = _read_cosigned(folder, log, keys), _Kept("anchor")
    if anchor is not None:
        kept_elsewhere.note, kept_elsewhere.checkpoint = anchor
        _checked(kept_elsewhere, log, keys)
    kept = [each for each in (cosigned, kept_elsewhere) if each.checkpoint is not None]

    events, signed, listed = _Events(), 0, False
    walk = _walk(folder / "events.jsonl", log, events, kept)
    heads_found: tuple[Found, int] | None = None
    for head in heads:
        # Of a witness's copy the cosigned one is the last.
        listed = _is(cosigned, head) or (listed and not heads.witnessed)
        if heads_found is not None or events.found is not None:
            continue
        for _ in walk:
            if events.tree.size == head.checkpoint.size:
                break
        if events.found is None:
            wrong = _against(head.checkpoint, events)
            if wrong is None:
                signed = head.checkpoint.size
            else:
                heads_found = wrong, head.line
    if heads_found is None and heads.found is not None:
        heads_found = heads.found, heads.line
    for _ in walk:
        pass

    size = events.tree.size
    for each in kept:
        _check_root(each, events)
    if cosigned.checkpoint is not None and not listed and heads.found is None:
        cosigned.fail(Found("bad_checkpoint", "this note is not among the checkpoints"))
    report.logs[log] = LogCounts(
        events=size,
        signed=signed,
        cosigned=0 if cosigned.checkpoint is None or cosigned.found else cosigned.checkpoint.size,
        witnessed=heads.witnessed,
    )
    _report_lines(events, log, report)
    if heads_found is not None:
        report.add(heads_found[0], log, 0 if heads_found[0].code == "unreadable" else heads_found[1])
    for each in (cosigned, kept_elsewhere):
        if each.found is not None:
            report.add(each.found, log)


def verify_lines(path: Path, log: str, report: Report) -> None:
    """Adds what is found in an events file alone."""
    events = _Events()
    for _ in _walk(path, log, events, []):
        pass
    report.logs[log] = LogCounts(events=events.tree.size)
    _report_lines(events, log, report)


def _report_lines(events: _Events, log: str, report: Report) -> None:
    size = events.tree.size
    if events.found is not None:
        missing = events.found.code == "unreadable"
        report.add(events.found, log, 0 if missing else size + 1, None if missing else size)
    if events.torn:
        report.warn("torn_line", log, size + 1, f"{events.torn} bytes behind the last newline")


def demand_signatures(report: Report) -> None:
    """Adds a finding for each log with lines that are not signed, where nothing else was found in it."""
    for log, counts in report.logs.items():
        if counts.signed < counts.events and all(finding.log != log for finding in report.findings):
            text = f"{counts.events - counts.signed} lines behind the last checkpoint"
            report.add(Found("not_signed", text), log, counts.signed + 1, counts.signed)


def _walk(path: Path, log: str, events: _Events, kept: list[_Kept]) -> Iterator[None]:
    """Takes one line a step, checked, into the tree."""
    tree, previous = events.tree, bytes(HASH_BYTES).hex()
    wanted = {each.checkpoint.size for each in kept if each.checkpoint is not None}
    _note_roots(kept, tree)
    try:
        with opened(path) as file:
            lines = Lines(file)
            for line in lines:
                event = parse_line(line)
                if fault := fault_in(event):
                    fail("bad_field", fault)
                if event["log"] != log:
                    fail("wrong_log", "the line is of another log")
                if event["seq"] != tree.size:
                    fail("wrong_sequence", f"`seq` is {event['seq']}, not {tree.size}")
                if event["prev"] != previous:
                    fail("broken_chain", "`prev` is not the hash of the line before: that was changed")
                leaf = leaf_hash(line)
                previous = leaf.hex()
                tree.append(leaf)
                if tree.size in wanted:
                    _note_roots(kept, tree)
                yield
            events.torn = lines.torn
    except NotCanonicalError as error:
        events.found = Found("not_canonical", str(error))
    except LineTooLongError:
        events.found = Found("not_canonical", "a line that is too long")
    except Found as found:
        events.found = found


def _note_roots(kept: list[_Kept], tree: Frontier) -> None:
    for each in kept:
        if each.checkpoint is not None and each.checkpoint.size == tree.size:
            each.root = tree.root()


def _against(checkpoint: Checkpoint, events: _Events) -> Found | None:
    if events.tree.size < checkpoint.size:
        return Found("missing_events", f"{checkpoint.size} lines were signed, the log has {events.tree.size}")
    if events.tree.root() != checkpoint.root:
        return Found("wrong_root", f"the first {checkpoint.size} lines are not those that were signed")
    return None


def _check_root(kept: _Kept, events: _Events) -> None:
    checkpoint = kept.checkpoint
    if checkpoint is None or kept.found is not None:
        return
    if checkpoint.size == 0:
        kept.fail(Found("bad_checkpoint", "the size is 0"))
    elif kept.root is None:
        if events.found is None:
            kept.fail(
                Found(
                    "missing_events", f"{checkpoint.size} lines were signed, the log has {events.tree.size}"
                )
            )
    elif kept.root != checkpoint.root:
        kept.fail(Found("wrong_root", f"the first {checkpoint.size} lines are not those that were signed"))


def _read_cosigned(folder: Path, log: str, keys: Keys) -> _Kept:
    kept = _Kept("cosigned")
    try:
        data = read_small(folder / "cosigned")
        if data is None:
            return kept
        try:
            kept.note, kept.checkpoint = read_note(data.decode())
        except UnicodeDecodeError:
            raise Found("bad_checkpoint", "not UTF-8") from None
        if len(kept.note.signatures) < 2:
            fail("bad_checkpoint", "no signature of a witness")
        _checked(kept, log, keys)
        check_witnesses(kept.note, kept.note.signatures[1:], keys)
    except Found as found:
        kept.fail(found)
    return kept


def _checked(kept: _Kept, log: str, keys: Keys) -> None:
    if kept.note is not None and kept.checkpoint is not None:
        try:
            check_signed(kept.note, kept.checkpoint, log, keys)
        except Found as found:
            kept.fail(found)


def _is(cosigned: _Kept, head: Head) -> bool:
    """Whether the cosigned note is this checkpoint, with the signatures that are there."""
    note, count = cosigned.note, len(head.note.signatures)
    if note is None or note.text != head.note.text or count not in {1, len(note.signatures)}:
        return False
    return note.signatures[:count] == head.note.signatures
