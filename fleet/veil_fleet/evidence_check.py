"""A stored line held against what the box signed and the fleet's witness cosigned, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from veil.audit.canonical import NotCanonicalError, parse_line
from veil.audit.checkpoint import Checkpoint, origin_of
from veil.audit.keyring import Keyring, RecordError
from veil.audit.note import Note, VerifierKey
from veil.audit.tree import leaf_hash, verify_inclusion
from veil.errors import EvidenceError, NoteError, ProofError
from veil_fleet.evidence_proofs import Covering, Proof, stretch_of
from veil_fleet.store.tables import Device


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at. `said`: what was found, for people."""

    what: str
    holds: bool
    said: str


def _held(what: str, said: str) -> Step:
    return Step(what, holds=True, said=said)


def failed(what: str, said: str) -> Step:
    """A step that does not hold."""
    return Step(what, holds=False, said=said)


def check_line(
    connection: Connection,
    device: str,
    log: str,
    seq: int,
    line: str,
    over: Covering,
    witnesses: Sequence[VerifierKey],
) -> list[Step]:
    """Reads the lines and the keys anew. A step that does not hold says so; nothing is raised for it."""
    steps = [_content(line, log, seq)]
    proof: Proof | None = None
    try:
        proof = stretch_of(connection, device, log, over).prove(seq)
        steps.append(_held("Stored lines", f"{over.size - over.start:,} lines hashed anew"))
    except EvidenceError as error:
        steps.append(failed("Stored lines", str(error)))
    try:
        note = Note.parse(over.note)
        checkpoint = Checkpoint.parse(note.text)
    except NoteError as error:
        return [*steps, failed("Checkpoint", error.message)]
    if checkpoint.origin != origin_of(device, log) or checkpoint.size != over.size:
        steps.append(failed("Checkpoint", "It is of another log or size."))
    if proof is not None:
        steps.append(_inclusion(line, proof, checkpoint))
    keys = connection.execute(
        select(Device.keys, Device.pinned_key).where(Device.name == device)
    ).one_or_none()
    steps.append(
        _box_signature(note, checkpoint, log, keys.keys if keys else "", keys.pinned_key if keys else None)
    )
    steps.append(_cosignature(note, witnesses))
    return steps


def _content(line: str, log: str, seq: int) -> Step:
    what = "Line"
    try:
        said = parse_line(line.encode())
    except NotCanonicalError as error:
        return failed(what, f"It is not canonical: {error}.")
    if said.get("log") != log or said.get("seq") != seq:
        return failed(what, "It names another log or number.")
    return _held(what, f"canonical, line {seq:,} of {log}")


def _inclusion(line: str, proof: Proof, checkpoint: Checkpoint) -> Step:
    what = "Inclusion"
    try:
        verify_inclusion(leaf_hash(line.encode()), proof.seq, proof.size, proof.path, checkpoint.root)
    except ProofError as error:
        return failed(what, error.message)
    return _held(what, f"{len(proof.path)} hashes lead from the line to the signed root")


def _box_signature(note: Note, checkpoint: Checkpoint, log: str, lines: str, pinned: str | None) -> Step:
    what = "Box's signature"
    try:
        ring = Keyring.of(line.encode() for line in lines.split("\n") if line)
    except (RecordError, NotCanonicalError) as error:
        return failed(what, f"The box's keys do not hold: {error}")
    if not ring.records or str(ring.records[0].new) != pinned:
        return failed(what, "The box's keys do not begin with the one that was pinned.")
    signature = note.signatures[0]
    number = ring.index(signature.name, signature.key_id)
    if number is None:
        return failed(what, "It is of a key that the box never showed.")
    key, last = ring.records[number].new, ring.last_size(number, log)
    if not key.verify(signature.payload, note.text.encode()):
        return failed(what, "It does not fit the checkpoint.")
    if last is not None and checkpoint.size > last:
        return failed(what, f"Its key had ended at {last:,} lines.")
    return _held(what, f"{key.name}, key {key.id.hex()}, {checkpoint.size:,} lines")


def _cosignature(note: Note, witnesses: Sequence[VerifierKey]) -> Step:
    what = "Witness's cosignature"
    for key in witnesses:
        if note.signature_of(key) is None:
            continue
        try:
            time_s = note.verify_cosignature(key)
        except NoteError as error:
            return failed(what, error.message)
        try:
            said = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        except (ValueError, OverflowError, OSError):
            said = f"{time_s} s"
        return _held(what, f"{key.name}, key {key.id.hex()}, {said}")
    return failed(what, "It is of no key of this fleet manager's witness.")
