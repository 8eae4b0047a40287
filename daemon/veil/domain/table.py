"""Many values of one kind as columns: a frame has hundreds, and few of them are ever looked at one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeVar, overload

T = TypeVar("T")


class Table(Sequence[T]):
    """A sequence whose values are made, all at once, when the first one is asked for.

    Equal to any sequence of equal values. Its columns must not be changed.
    """

    @abstractmethod
    def _made(self) -> tuple[T, ...]:
        """All values, in order."""

    @cached_property
    def _values(self) -> tuple[T, ...]:
        return self._made()

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self._values[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and self._values == tuple(other)

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return repr(self._values)
