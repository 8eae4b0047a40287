"""Hostile payloads by the hundred thousand: those that hypothesis drew, changed and crossed at random.

To draw one takes hypothesis 10 ms and more; to change one takes a hundredth of that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

DRAWN = 1000  # as many are drawn; what is above comes from these
_LARGE, _LARGE_ONES = 64 << 10, 20
_DEEP = 100
_PIECES = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b'"', b"\\", b"{", b"}", b"[" * 500, b"]"),
    *(
        b"1e999",
        b"-0",
        b"NaN",
        b"9" * 5000,
        b"null",
        b"true",
        b'"\\ud800"',
        b'{"a":' * 500,
        b'"v":2,',
        b"+",
        b"#",
    ),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, 1e308, 2**31, 2**53, 2**63, 2**64, 10**300, "", "\x00", "\ud800"),
    *([], {}, [[]], {"": {}}, "x" * 5000, "9" * 400, "../..", "$share/a/#", "2026-01-01T00:00:00.000000Z"),
)


def drawn(count: int) -> int:
    """How many of `count` hypothesis draws."""
    return min(count, DRAWN)


class Pool:
    """What was drawn goes in, what is made of it comes out; half of it from `honest`, being nearly right."""

    def __init__(self, honest: Sequence[bytes] = (), seed: int = 1) -> None:
        self.random = Random(seed)
        self._honest = honest
        self._kept = list(honest)
        self._large = 0

    def add(self, payload: bytes) -> None:
        """Some large ones are enough: all were given as they are."""
        large = len(payload) > _LARGE
        if len(self._kept) < 2 * DRAWN and not (large and self._large >= _LARGE_ONES):
            self._kept.append(payload)
            self._large += large

    def more(self, count: int) -> Iterator[bytes]:
        """What is left of `count` when DRAWN of them were drawn."""
        for _ in range(count - drawn(count)):
            near = self._honest and self.random.random() < 0.5
            payload = self.random.choice(self._honest if near else self._kept)
            for _ in range(self.random.choice((1, 1, 2, 4))):
                payload = self._changed(payload)
            yield payload

    def _changed(self, payload: bytes) -> bytes:
        if self.random.random() < 0.6 and (changed := self._changed_value(payload)) is not None:
            return changed
        random, data = self.random, bytearray(payload)
        at = random.randint(0, len(data))
        match random.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1:
                del data[at : at + random.choice((1, 1, 10, len(data)))]
            case 2:
                data[at:at] = random.choice(_PIECES)
            case 3:
                data[at:at] = data[at : at + random.randint(1, 50)] * random.choice((1, 2, 50))
            case 4:
                other = random.choice(self._kept)
                data[at:] = other[random.randint(0, len(other)) :]
            case _:
                data[at:at] = random.randbytes(random.randint(1, 8))
        return bytes(data[: 3 << 20])

    def _changed_value(self, payload: bytes) -> bytes | None:
        """Something else at one place of what is JSON; None: it is not, or too large to take apart."""
        root = _parsed(payload)
        path = self._place(root) if isinstance(root, dict | list) and root else None
        if path is None:
            return None
        target = root
        for key in path[:-1]:
            target = target[key]
        match self.random.randrange(4):
            case 0:
                del target[path[-1]]
            case 1:
                target[path[-1]] = _parsed(self.random.choice(self._kept))
            case 2 if isinstance(target, dict):
                target[self.random.choice(("v", "x", "", "\x00", "device", "log"))] = target.pop(path[-1])
            case _:
                target[path[-1]] = self.random.choice(_VALUES)
        try:
            text = json.dumps(root, ensure_ascii=self.random.random() < 0.7)
        except RecursionError:
            return None
        return text.encode("utf-8", "surrogatepass")

    def _place(self, value: Any) -> list[Any] | None:
        path: list[Any] = []
        while isinstance(value, dict | list) and value and len(path) < _DEEP:
            path.append(self.random.choice(list(value) if isinstance(value, dict) else range(len(value))))
            value = value[path[-1]]
            if self.random.random() < 0.4:
                break
        return path or None


def _parsed(payload: bytes) -> Any:
    if len(payload) > _LARGE:
        return None
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None
