"""Whether a camera's picture is worth masking: frozen, black or covered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from veil.domain.clock import NANOSECONDS
from veil.frames.picture import PlaneArray

_GRID: Final = 48
_BINS: Final = 256


class PictureState(StrEnum):
    """What the picture looks like.

    `FROZEN`: the same picture again and again, where a sensor's noise would differ. `BLACK`: dark all over.
    `COVERED`: something even in front of the lens, a hand, paint or a cap with light around it.
    """

    OK = "ok"
    FROZEN = "frozen"
    BLACK = "black"
    COVERED = "covered"


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """From where on a picture counts as unwell. Luma is 0..255.

    Attributes:
        frozen_after_s: so long without a change. Longer than a slow camera's frame interval, and than an
            encoder repeats a still scene bit for bit.
        frozen_change: mean change of a sample that is still none.
        black_level: luma below which a sample is black, with 99 of 100 samples.
        covered_spread: range of luma that holds 98 of 100 samples of a covered picture.
        covered_after_s: a cover has to stay so long; something may pass close to the lens.
    """

    frozen_after_s: float = 10.0
    frozen_change: float = 0.02
    black_level: int = 32
    covered_spread: int = 12
    covered_after_s: float = 2.0


class PictureHealth:
    """Watches one camera's luma on a grid of at most 48 x 48 samples; some tens of microseconds a frame.

    Start a new one with each epoch.
    """

    def __init__(self, limits: HealthLimits | None = None) -> None:
        self._limits = limits or HealthLimits()
        self._last: NDArray[np.int16] | None = None
        self._changed_ns = 0
        self._varied_ns: int | None = None

    def update(self, y_plane: PlaneArray, now_ns: int) -> PictureState:
        """The state with this frame; `y_plane` is luma, height x width, `now_ns` rises."""
        samples = _samples(y_plane)
        self._note_change(samples, now_ns)
        counts = np.bincount(samples.ravel(), minlength=_BINS)
        shares = np.cumsum(counts) / samples.size
        if shares[self._limits.black_level - 1] >= 0.99:
            return PictureState.BLACK
        spread = int(np.searchsorted(shares, 0.99)) - int(np.searchsorted(shares, 0.01))
        if spread > self._limits.covered_spread or self._varied_ns is None:
            self._varied_ns = now_ns
        if now_ns - self._varied_ns >= self._limits.covered_after_s * NANOSECONDS:
            return PictureState.COVERED
        if now_ns - self._changed_ns >= self._limits.frozen_after_s * NANOSECONDS:
            return PictureState.FROZEN
        return PictureState.OK

    def _note_change(self, samples: PlaneArray, now_ns: int) -> None:
        current = samples.astype(np.int16)
        last, self._last = self._last, current
        if last is None or last.shape != current.shape:
            self._changed_ns = now_ns
            return
        if float(np.abs(current - last).mean()) > self._limits.frozen_change:
            self._changed_ns = now_ns


def _samples(y_plane: PlaneArray) -> PlaneArray:
    height, width = y_plane.shape
    # Odd steps, so that the grid does not fall on one phase of the encoder's blocks.
    down = max(1, -(-height // _GRID)) | 1 if height > _GRID else 1
    across = max(1, -(-width // _GRID)) | 1 if width > _GRID else 1
    return np.ascontiguousarray(y_plane[down // 2 :: down, across // 2 :: across])
