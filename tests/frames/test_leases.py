"""A slot has one owner at a time, and nobody can use pixels after their lease."""

from __future__ import annotations

import pytest

from frames_made import info, noise
from veil.domain.cover import Reason, WholeFrame
from veil.errors import LeaseError, PainterError
from veil.frames.masked import MaskedFrame, _Seal
from veil.frames.pool import SlotPool
from veil.mask.masker import Masker


def test_masking_ends_the_raw_lease() -> None:
    pool = SlotPool(64, 48, 1)
    raw = noise(pool, info(1))
    masked = Masker().mask(raw, WholeFrame(1, Reason.STARTING))
    with pytest.raises(LeaseError):
        _ = raw.planes
    with pytest.raises(LeaseError):
        Masker().mask(raw, WholeFrame(1, Reason.STARTING))
    assert pool.free == 0
    masked.release()
    assert pool.free == 1


def test_released_masked_frame_cannot_be_read() -> None:
    pool = SlotPool(64, 48, 1)
    masked = Masker().mask(noise(pool, info(1)), WholeFrame(1, Reason.STARTING))
    masked.release()
    with pytest.raises(LeaseError):
        _ = masked.picture
    with pytest.raises(LeaseError):
        _ = masked.planes
    masked.release()
    assert pool.free == 1


def test_slot_cannot_be_given_back_twice() -> None:
    pool = SlotPool(64, 48, 2)
    slot = pool.acquire(0)
    assert slot is not None
    pool.give_back(slot)
    with pytest.raises(LeaseError):
        pool.give_back(slot)


def test_slot_of_another_pool_is_refused() -> None:
    ours, theirs = SlotPool(64, 48, 1), SlotPool(64, 48, 1)
    slot = theirs.acquire(0)
    assert slot is not None
    with pytest.raises(LeaseError):
        ours.give_back(slot)


def test_empty_pool_gives_nothing_instead_of_a_used_slot() -> None:
    pool = SlotPool(64, 48, 1)
    assert pool.acquire(0) is not None
    assert pool.acquire(0.01) is None


def test_nobody_else_can_make_a_masked_frame() -> None:
    pool = SlotPool(64, 48, 1)
    slot = pool.acquire(0)
    assert slot is not None
    with pytest.raises(LeaseError):
        MaskedFrame(
            _Seal(),
            info=info(1),
            cover=WholeFrame(1, Reason.STARTING),
            picture=slot.picture,
            planes=slot.planes,
            give_back=lambda: None,
            is_slate=False,
        )


def test_painter_failure_drops_the_frame_and_keeps_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no paint left")

    monkeypatch.setattr("veil.mask.masker.paint", broken)
    pool = SlotPool(64, 48, 1)
    with pytest.raises(PainterError):
        Masker().mask(noise(pool, info(1)), WholeFrame(1, Reason.STARTING))
    assert pool.free == 1
