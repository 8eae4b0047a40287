"""Inclusion proofs from the store: of a line, in the first cosigned checkpoint that covers it.

A proof needs the lines between two neighbouring checkpoints alone: what lies before is in the peaks of the
older one. So its cost does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from veil.audit.proofs import inclusion_proof
from veil.audit.tree import HASH_BYTES, Frontier, leaf_hash, node_hash
from veil.errors import EvidenceError
from veil_fleet.store.tables import Checkpoint, LogLine

MAX_SPAN: Final = 250_000
"""Lines between two checkpoints for which a proof is made: some 60 MB of hashes."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That line `seq` is in the tree of `size` lines.

    Attributes:
        path: siblings, 32 bytes each, from the leaf upwards (RFC 6962).
        root: where it leads to.
    """

    seq: int
    size: int
    path: tuple[bytes, ...]
    root: bytes


class Stretch:
    """The tree of a log of `size` lines: complete subtrees up to `start`, leaves from there.

    Args:
        start, peaks: of an older checkpoint, or 0 and none.
        leaves: leaf hashes of the lines `start` .. size - 1.
    """

    def __init__(self, start: int, peaks: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        Frontier(start, list(peaks))  # raises ValueError where these do not belong together
        self.start = start
        self.size = start + len(leaves)
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._fill(peaks, leaves)

    def _fill(self, peaks: Sequence[bytes], leaves: Sequence[bytes]) -> None:
        first, row = self.start, list(leaves)
        by_level = dict(zip(_levels(self.start), reversed(peaks), strict=True))
        level = 0
        # Level by level: `row` holds the complete nodes of this level from number `first` on.
        while row or level in by_level:
            if level in by_level:
                first -= 1
                row.insert(0, by_level.pop(level))
            for number, node in enumerate(row, first):
                self._nodes[level, number] = node
            # A pair begins at an even number; `first` is even here: an odd one would be a peak.
            row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
            first //= 2
            level += 1
            while not row and by_level and level not in by_level:
                level += 1
                first = self.start >> level

    def prove(self, seq: int) -> Proof:
        """Of a line between `start` and `size`. Raises ValueError for others."""
        if not self.start <= seq < self.size:
            raise ValueError(f"line {seq} is not between {self.start} and {self.size}")
        path = inclusion_proof(seq, self.size, self._root)
        return Proof(seq, self.size, tuple(path), self._root(0, self.size))

    def _root(self, first: int, end: int) -> bytes:
        level = (end - first - 1).bit_length()
        return self._subtree(level, first >> level)

    def _subtree(self, level: int, number: int) -> bytes:
        """Of the leaves number << level to (number + 1) << level, as far as the tree goes."""
        node = self._nodes.get((level, number))
        if node is not None:
            return node
        left = self._subtree(level - 1, 2 * number)
        if ((2 * number + 1) << (level - 1)) >= self.size:
            return left
        return node_hash(left, self._subtree(level - 1, 2 * number + 1))


def _levels(size: int) -> list[int]:
    """Levels of the peaks, the smallest first."""
    return [level for level in range(size.bit_length()) if size >> level & 1]


@dataclass(frozen=True, slots=True)
class Covering:
    """A cosigned checkpoint and the one before it.

    Attributes:
        start: size of the one before, 0 without one.
        peaks: of the tree of `start` lines.
    """

    start: int
    peaks: tuple[bytes, ...]
    size: int
    note: str
    cosigned_ms: int


def covering(connection: Connection, device: str, log: str, seq: int) -> Covering | None:
    """The first cosigned checkpoint over line `seq`; None while there is none."""
    mine = (Checkpoint.device == device, Checkpoint.log == log)
    over = connection.execute(
        select(Checkpoint.size, Checkpoint.note, Checkpoint.cosigned_ms)
        .where(*mine, Checkpoint.size > seq)
        .order_by(Checkpoint.size)
        .limit(1)
    ).one_or_none()
    if over is None:
        return None
    below = connection.execute(
        select(Checkpoint.size, Checkpoint.peaks)
        .where(*mine, Checkpoint.size <= seq)
        .order_by(Checkpoint.size.desc())
        .limit(1)
    ).one_or_none()
    start, peaks = (below.size, below.peaks) if below and below.peaks else (0, b"")
    return Covering(start, split_peaks(peaks), over.size, over.note, over.cosigned_ms)


def stretch_of(connection: Connection, device: str, log: str, over: Covering) -> Stretch:
    """From the stored lines. Raises EvidenceError where one is missing, or where there are too many."""
    if over.size - over.start > MAX_SPAN:
        raise EvidenceError(
            f"{over.size - over.start} lines lie between two checkpoints, over {MAX_SPAN}.",
            hint="Export the log and verify it with `veil log verify`.",
        )
    leaves = [leaf_hash(line) for _, line in lines_of(connection, device, log, over.start, over.size)]
    if len(leaves) != over.size - over.start:
        raise EvidenceError(f"Lines of {device}/{log} are missing below {over.size}, which was cosigned.")
    try:
        return Stretch(over.start, over.peaks, leaves)
    except ValueError as error:
        raise EvidenceError(f"The stored tree of {device}/{log} at {over.start} lines is damaged.") from error


def lines_of(
    connection: Connection, device: str, log: str, first: int, end: int, *, batch: int = 2000
) -> Iterator[tuple[int, bytes]]:
    """Sequence numbers and lines, `first` .. `end` - 1, in order; at most `batch` of them in memory."""
    at = first
    while at < end:
        rows = connection.execute(
            select(LogLine.seq, LogLine.line)
            .where(
                LogLine.device == device,
                LogLine.log == log,
                LogLine.seq >= at,
                LogLine.seq < min(end, at + batch),
            )
            .order_by(LogLine.seq)
        ).all()
        for seq, line in rows:
            yield seq, line.encode()
        at += batch


def split_peaks(peaks: bytes) -> tuple[bytes, ...]:
    """As the store keeps them, one behind the other."""
    return tuple(peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES))


def as_json(proof: Proof) -> Mapping[str, object]:
    """For people and programs: hashes in hex."""
    return {
        "seq": proof.seq,
        "size": proof.size,
        "path": [node.hex() for node in proof.path],
        "root": proof.root.hex(),
    }
