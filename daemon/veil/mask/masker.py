"""The only maker of MaskedFrames: paints a cover over a raw frame's own slot, or draws a slate."""

from __future__ import annotations

import dataclasses

from veil.domain.cover import Cover, Reason, WholeFrame
from veil.errors import PainterError
from veil.frames.masked import _SEAL, MaskedFrame
from veil.frames.picture import FrameInfo
from veil.frames.pool import Slot, even
from veil.frames.raw import RawFrame
from veil.mask.painter import paint
from veil.mask.slate import draw_mark, draw_slate


class Masker:
    """Turns raw frames into masked ones in place; nothing is copied."""

    def mask(self, raw: RawFrame, cover: Cover) -> MaskedFrame:
        """Consumes the raw lease, paints, and hands the slot on.

        A cover made for another frame hides the whole frame. Raises LeaseError for a frame that was masked
        or released before, PainterError when painting failed: the slot is back in its pool, nothing leaves.
        """
        if cover.sequence != raw.info.sequence:
            cover = WholeFrame(raw.info.sequence, Reason.SEQUENCE_MISMATCH)
        info = raw.info
        if info.is_damaged and not isinstance(cover, WholeFrame):
            cover = WholeFrame(info.sequence, Reason.PICTURE_DAMAGED)
        slot, pool = raw.consume()
        try:
            paint(slot.planes, cover)
            if info.mark:
                draw_mark(slot.planes, info.mark)
        except BaseException as error:
            pool.give_back(slot)
            if isinstance(error, Exception):
                raise PainterError(f"frame {info.sequence} could not be painted: {error}") from error
            raise
        return MaskedFrame(
            _SEAL,
            info=info,
            cover=cover,
            picture=slot.picture,
            planes=slot.planes,
            give_back=lambda: pool.give_back(slot),
            is_slate=False,
        )


class SlateMaker:
    """Draws slates of one size into a slot of its own that no camera ever writes to.

    Args:
        width, height: visible size in pixels.
        lines: text, ASCII, up to four short lines.
    """

    def __init__(self, width: int, height: int, lines: tuple[str, ...]) -> None:
        self._slot = Slot(0, even(width), even(height))
        self._size = (width, height)
        draw_slate(self._slot.planes, lines)

    def slate(self, info: FrameInfo) -> MaskedFrame:
        """A slate that takes the place of frame `info`. At most one is in use at a time."""
        width, height = self._size
        return MaskedFrame(
            _SEAL,
            info=dataclasses.replace(info, width=width, height=height),
            cover=WholeFrame(info.sequence, Reason.NO_PICTURE),
            picture=self._slot.picture,
            planes=self._slot.planes,
            give_back=lambda: None,
            is_slate=True,
        )
