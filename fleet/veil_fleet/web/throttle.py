"""How often somebody may try: token buckets in bounded memory."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

MAX_KEYS: Final = 8192


class Throttle:
    """A bucket of `burst` tries for each key, refilled in `refill_s` seconds. Thread-safe.

    At most `MAX_KEYS` buckets are kept; the one unused for longest goes first.

    Args:
        monotonic: seconds.
    """

    def __init__(self, burst: int, refill_s: float, monotonic: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = burst / refill_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """Seconds until the next try of `key` is allowed; 0 where it is now."""
        with self._lock:
            return max(0.0, (1 - self._left(key, self._monotonic())) / self._rate)

    def take(self, key: str) -> bool:
        """Takes a try; False where none is left."""
        now = self._monotonic()
        with self._lock:
            left = self._left(key, now)
            allowed = left >= 1
            self._buckets[key] = (left - 1 if allowed else left, now)
            self._buckets.move_to_end(key)
            while len(self._buckets) > MAX_KEYS:
                self._buckets.popitem(last=False)
        return allowed

    def forget(self, key: str) -> None:
        """All tries again: after one that succeeded."""
        with self._lock:
            self._buckets.pop(key, None)

    def give_back(self, key: str) -> None:
        """The last try did not count."""
        now = self._monotonic()
        with self._lock:
            if key in self._buckets:
                self._buckets[key] = (min(float(self._burst), self._left(key, now) + 1), now)

    def _left(self, key: str, now: float) -> float:
        left, at = self._buckets.get(key, (float(self._burst), now))
        return min(float(self._burst), left + (now - at) * self._rate)


class Turnstile:
    """Lets `at_once` through; the others wait, at most `waiting` of them."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._semaphore = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._inside = 0

    @property
    def full(self) -> bool:
        return self._inside >= self._most

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        self._inside += 1
        try:
            async with self._semaphore:
                yield
        finally:
            self._inside -= 1


def network_of(address: str) -> str:
    """What one visitor has: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
