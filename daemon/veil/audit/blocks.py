"""A log's tree, kept as one hash and one byte offset per 256 lines: proofs without reading it all."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable

from veil.audit.proofs import root_of
from veil.audit.tree import HASH_BYTES, Frontier, node_hash

BLOCK_LINES = 256
_ENTRY = struct.Struct(">Q32s")
ENTRY_BYTES = _ENTRY.size

ReadBlock = Callable[[int], list[bytes]]
"""The leaf hashes of a complete block, by its number."""


class Blocks:
    """A growing tree. Takes leaves in order; `encode` gives what a later start goes on from.

    Attributes:
        frontier: of all leaves.
    """

    def __init__(self) -> None:
        self.frontier = Frontier()
        self._ends = array("Q")
        self._roots = bytearray()
        self._open: list[bytes] = []
        self._known: dict[tuple[int, int], bytes] = {}

    @property
    def size(self) -> int:
        return self.frontier.size

    @property
    def complete(self) -> int:
        """How many blocks are whole."""
        return len(self._ends)

    def append(self, leaf: bytes, end: int) -> bytes | None:
        """Adds a leaf whose line ends, with newline, at byte `end`; the entry of a block that it fills."""
        self.frontier.append(leaf)
        self._open.append(leaf)
        if len(self._open) < BLOCK_LINES:
            return None
        root = root_of(self._open)
        self._open = []
        self._ends.append(end)
        self._roots += root
        return _ENTRY.pack(end, root)

    def start_of(self, block: int) -> int:
        """The byte at which a block begins."""
        return self._ends[block - 1] if block else 0

    def _root(self, block: int) -> bytes:
        return bytes(self._roots[block * HASH_BYTES : (block + 1) * HASH_BYTES])

    def range_root(self, first: int, end: int, read: ReadBlock) -> bytes:
        """See `proofs.RangeRoot`; blocks that the range cuts are read."""
        if (first, end) in self._known:
            return self._known[first, end]
        if end - first < BLOCK_LINES:
            block, offset = divmod(first, BLOCK_LINES)
            leaves = self._open if block == self.complete else read(block)
            return root_of(leaves[offset : offset + end - first])
        length = end - first
        if length & (length - 1):
            middle = first + (1 << length.bit_length() - 1)
            return node_hash(self.range_root(first, middle, read), self.range_root(middle, end, read))
        block, count = first // BLOCK_LINES, length // BLOCK_LINES
        root = root_of([self._root(number) for number in range(block, block + count)])
        self._known[first, end] = root
        return root

    def encode(self) -> bytes:
        """All entries."""
        return b"".join(_ENTRY.pack(end, self._root(number)) for number, end in enumerate(self._ends))

    @classmethod
    def decode(cls, entries: bytes, most: int) -> Blocks:
        """From at most `most` entries, none of them believed yet; a senseless one ends them."""
        blocks = cls()
        whole = min(len(entries) // _ENTRY.size, most)
        tree = Frontier()
        for end, root in _ENTRY.iter_unpack(entries[: whole * _ENTRY.size]):
            if not blocks.start_of(blocks.complete) < end < 1 << 62:
                break
            blocks._ends.append(end)
            blocks._roots += root
            tree.append(root)
        blocks.frontier = Frontier(tree.size * BLOCK_LINES, tree.peaks)
        return blocks
