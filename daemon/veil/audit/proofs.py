"""Inclusion and consistency proofs (RFC 6962 section 2.1) from whatever knows the hashes of subtrees."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from veil.audit.tree import Frontier

RangeRoot = Callable[[int, int], bytes]
"""MTH(D[first:end]) for the ranges that proofs are made of: `first` is a multiple of the least power of two
that is not below the range's length."""


def range_root_of(leaves: Sequence[bytes]) -> RangeRoot:
    """Of a tree whose leaf hashes are all at hand."""

    def root(first: int, end: int) -> bytes:
        return root_of(leaves[first:end])

    return root


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Of leaf hashes, or of the roots of complete subtrees of one size."""
    tree = Frontier()
    for each in hashes:
        tree.append(each)
    return tree.root()


def inclusion_proof(index: int, size: int, root: RangeRoot) -> list[bytes]:
    """PATH(index, D[size]): from the leaf's sibling upwards, for `tree.verify_inclusion`.

    Raises ValueError for a leaf that is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    first, end, path = 0, size, []
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(root(middle, end))
            end = middle
        else:
            path.append(root(first, middle))
            first = middle
    return path[::-1]


def consistency_proof(old_size: int, size: int, root: RangeRoot) -> list[bytes]:
    """PROOF(old_size, D[size]), for `tree.verify_consistency`; empty where there is nothing to prove.

    Raises ValueError for a tree that cannot have grown so.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} leaves cannot go on from one of {old_size}")
    if old_size in {0, size}:
        return []
    first, end, path, whole = 0, size, [], True
    while old_size != end:
        middle = first + _split(end - first)
        if old_size <= middle:
            path.append(root(middle, end))
            end = middle
        else:
            path.append(root(first, middle))
            first, whole = middle, False
    if not whole:
        path.append(root(first, end))
    return path[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1
