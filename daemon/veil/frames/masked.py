"""A frame whose cover has been painted: the only kind of picture that encoders and sinks take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, final

import av

from veil.domain.cover import Cover, WholeFrame
from veil.errors import LeaseError
from veil.frames.picture import FrameInfo, Planes


class _Seal:
    """Proof of who made a MaskedFrame; see `veil.mask.masker`."""


_SEAL: Final = _Seal()


@final
class MaskedFrame:
    """Made by `veil.mask.masker` alone (the seal), from a consumed raw lease or as a slate.

    Attributes:
        info: of the raw frame, unchanged.
        cover: what was painted.
        is_slate: no captured pixel ever was in this picture.
    """

    __slots__ = ("_give_back", "_lock", "_picture", "_planes", "cover", "info", "is_slate")

    def __init__(
        self,
        seal: _Seal,
        *,
        info: FrameInfo,
        cover: Cover,
        picture: av.VideoFrame,
        planes: Planes,
        give_back: Callable[[], None],
        is_slate: bool,
    ) -> None:
        if seal is not _SEAL:
            raise LeaseError("a MaskedFrame is made by Masker.mask only")
        self.info = info
        self.cover = cover
        self.is_slate = is_slate
        self._picture: av.VideoFrame | None = picture
        self._planes = planes
        self._give_back = give_back
        self._lock = threading.Lock()

    @property
    def is_whole(self) -> bool:
        return isinstance(self.cover, WholeFrame)

    @property
    def picture(self) -> av.VideoFrame:
        """The codec library's frame over the slot: no copy. Raises LeaseError after release."""
        if self._picture is None:
            raise LeaseError(f"masked frame {self.info.sequence} was used after release")
        return self._picture

    @property
    def planes(self) -> Planes:
        """The masked pixels, to read. Raises LeaseError after release."""
        if self._picture is None:
            raise LeaseError(f"masked frame {self.info.sequence} was used after release")
        return self._planes

    def release(self) -> None:
        """Gives the slot back; does nothing the second time."""
        with self._lock:
            held, self._picture = self._picture, None
        if held is not None:
            self._give_back()

    def __enter__(self) -> MaskedFrame:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
