"""Which faults are due at one camera: armed by the test, taken by the parts that then fail."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass
class _Armed:
    left: int
    value: Any
    until: float


class Switches:
    """Thread-safe. A fault that is armed happens `times` times, or until its time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: dict[str, _Armed] = {}
        self.happened: Counter[str] = Counter()

    def arm(self, name: str, *, times: int = 1, value: Any = None, for_s: float = 3600.0) -> None:
        with self._lock:
            self._armed[name] = _Armed(times, value, time.monotonic() + for_s)

    def take(self, name: str) -> _Armed | None:
        """The fault, once; None where it is not due."""
        with self._lock:
            armed = self._armed.get(name)
            if armed is None:
                return None
            if armed.until < time.monotonic():
                del self._armed[name]
                return None
            armed.left -= 1
            if armed.left <= 0:
                del self._armed[name]
            self.happened[name] += 1
            return armed

    def is_armed(self, name: str) -> bool:
        with self._lock:
            armed = self._armed.get(name)
            return armed is not None and armed.until >= time.monotonic()

    def clear(self) -> None:
        with self._lock:
            self._armed.clear()
