"""Reading files of lines forwards, with bounded memory whatever they hold."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from veil.audit.canonical import MAX_LINE_BYTES

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Piece(io.RawIOBase):
    """The bytes `start`..`end - 1` of a descriptor as they are now; the descriptor's own position stays."""

    def __init__(self, descriptor: int, start: int, end: int | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._at = start
        self._end = end

    def fileno(self) -> int:
        return self._descriptor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if self._end is not None:
            view = view[: max(0, self._end - self._at)]
        count = os.preadv(self._descriptor, [view], self._at) if view else 0
        self._at += count
        return count


def piece(descriptor: int, start: int, end: int | None = None) -> BinaryIO:
    """A buffered reader of a part of a file that others may be writing to."""
    return io.BufferedReader(_Piece(descriptor, start, end), 1 << 16)


class LineTooLongError(ValueError):
    """A line, with its newline somewhere behind, is longer than lines are."""


class Lines:
    """Iterates over a file's whole lines, without their newlines, from where the file stands.

    Raises LineTooLongError and OSError while iterating.

    Attributes:
        torn: once the end was reached, how many bytes are behind the last newline.
    """

    def __init__(self, file: BinaryIO, most: int = MAX_LINE_BYTES) -> None:
        self._file = file
        self._most = most
        self.torn = 0

    def __iter__(self) -> Iterator[bytes]:
        readline, most = self._file.readline, self._most + 1
        while line := readline(most):
            if line[-1] != 0x0A:
                self._end(line)
                return
            yield line[:-1]

    def _end(self, begun: bytes) -> None:
        torn = len(begun)
        while block := self._file.read(1 << 20):
            if b"\n" in block:
                raise LineTooLongError
            torn += len(block)
        self.torn = torn
