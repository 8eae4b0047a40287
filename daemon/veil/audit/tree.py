"""The Merkle tree of RFC 6962 over a log's lines: hashes, a growing head, and the proofs' verification."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from veil.errors import ProofError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(line: bytes) -> bytes:
    """SHA-256(0x00 || line), RFC 6962 section 2.1; `line` is without its newline."""
    return hashlib.sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """A tree that only grows, kept as the roots of its complete subtrees: log2(size) hashes.

    Attributes:
        size: number of leaves.
        peaks: roots of the complete subtrees, the largest first; one per set bit of `size`.
    """

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has {max(self.size, 0).bit_count()} peaks")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError(f"a peak has {HASH_BYTES} bytes")

    def append(self, leaf: bytes) -> None:
        """Adds a leaf's hash (see `leaf_hash`)."""
        peaks, rest = self.peaks, self.size
        while rest & 1:
            leaf = node_hash(peaks.pop(), leaf)
            rest >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The tree's hash, 32 bytes; of no leaves, the hash of nothing."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def copy(self) -> Frontier:
        return Frontier(self.size, list(self.peaks))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Whether leaf hash `leaf` is number `index` of the tree of `size` leaves with hash `root`.

    Raises ProofError where the proof does not show it (RFC 9162 section 2.1.3.2).
    """
    if not 0 <= index < size:
        raise ProofError(f"There is no leaf {index} in a tree of {size}.")
    at, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("The inclusion proof is too long.")
        if at & 1 or at == last:
            value = node_hash(sibling, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProofError("The inclusion proof is too short.")
    if value != root:
        raise ProofError("The inclusion proof leads to another root.")


def verify_consistency(
    old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes
) -> None:
    """Whether the tree of `size` leaves begins with the tree of `old_size` leaves.

    Raises ProofError where the proof does not show it (RFC 9162 section 2.1.4.2).
    """
    if not 0 <= old_size <= size:
        raise ProofError(f"A tree of {size} leaves cannot go on from one of {old_size}.")
    if old_size in {0, size}:
        if proof:
            raise ProofError("The consistency proof is too long.")
        if old_size == size and old_root != root:
            raise ProofError("Two roots for one size.")
        return
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    path = list(proof)
    if at == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError("The consistency proof is too short.")
    old_value = value = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError("The consistency proof is too long.")
        if at & 1 or at == last:
            old_value, value = node_hash(sibling, old_value), node_hash(sibling, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProofError("The consistency proof is too short.")
    if old_value != old_root or value != root:
        raise ProofError("The consistency proof leads to other roots.")
