"""Proofs hold for every tree, and for nothing else; against RFC 6962 written down as it stands there."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veil.audit.blocks import BLOCK_LINES, Blocks
from veil.audit.proofs import consistency_proof, inclusion_proof, range_root_of
from veil.audit.tree import Frontier, leaf_hash, verify_consistency, verify_inclusion
from veil.errors import ProofError

LEAVES = [leaf_hash(str(number).encode()) for number in range(1500)]


def split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return [*path(m, leaves[:k]), root(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), root(leaves[:k])]


def proof(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*proof(m, leaves[:k], whole), root(leaves[k:])]
    return [*proof(m - k, leaves[k:], False), root(leaves[:k])]


SIZES = st.integers(1, 70) | st.sampled_from([255, 256, 257, 511, 512, 513, 768, 1023, 1024, 1025, 1500])


@settings(deadline=None)
@given(SIZES, st.data())
def test_inclusion_proofs_are_those_of_the_rfc_and_hold(size: int, data: st.DataObject) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), LEAVES[:size]
    made = inclusion_proof(index, size, range_root_of(leaves))
    assert made == path(index, leaves)
    verify_inclusion(leaves[index], index, size, made, root(leaves))
    if size > 1:
        other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index))
        with pytest.raises(ProofError):
            verify_inclusion(leaves[index], other, size, made, root(leaves))
        with pytest.raises(ProofError):
            verify_inclusion(leaves[other], index, size, made, root(leaves))
        with pytest.raises(ProofError):
            verify_inclusion(leaves[index], index, size, made[:-1], root(leaves))
    with pytest.raises(ProofError):
        verify_inclusion(leaves[index], index, size, [*made, leaves[0]], root(leaves))


@settings(deadline=None)
@given(SIZES, st.data())
def test_consistency_proofs_are_those_of_the_rfc_and_hold(size: int, data: st.DataObject) -> None:
    old, leaves = data.draw(st.integers(1, size)), LEAVES[:size]
    made = consistency_proof(old, size, range_root_of(leaves))
    assert made == proof(old, leaves)
    verify_consistency(old, size, made, root(leaves[:old]), root(leaves))
    other = [*leaves[: old - 1], leaf_hash(b"another"), *leaves[old:]]
    with pytest.raises(ProofError):
        verify_consistency(old, size, made, root(other[:old]), root(leaves))
    with pytest.raises(ProofError):
        verify_consistency(old, size, made, root(leaves[:old]), root(other))


@settings(deadline=None, max_examples=30)
@given(SIZES, st.booleans(), st.data())
def test_tree_kept_as_blocks_gives_the_same_proofs(size: int, reopened: bool, data: st.DataObject) -> None:
    blocks = Blocks()
    for number, leaf in enumerate(LEAVES[:size], 1):
        blocks.append(leaf, number * 10)
    if reopened:
        again = Blocks.decode(blocks.encode() + b"torn", size // BLOCK_LINES)
        for number in range(again.size, size):
            again.append(LEAVES[number], number * 10 + 10)
        blocks = again
    assert blocks.frontier.root() == root(LEAVES[:size])
    tree = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, tree - 1))

    def range_root(first: int, end: int) -> bytes:
        return blocks.range_root(
            first, end, lambda block: LEAVES[block * BLOCK_LINES : (block + 1) * BLOCK_LINES]
        )

    assert inclusion_proof(index, tree, range_root) == path(index, LEAVES[:tree])
    assert consistency_proof(tree, size, range_root) == proof(tree, LEAVES[:size])


@given(st.integers(0, 300))
def test_growing_tree_has_the_rfc_s_root(size: int) -> None:
    tree = Frontier()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    assert tree.root() == root(LEAVES[:size])
