"""How long to wait before the next connection."""

from __future__ import annotations

import random

from veil.config import CaptureConfig
from veil.domain.clock import NANOSECONDS

_HEALTHY_NS = 10 * NANOSECONDS


class Backoff:
    """Exponential with full jitter: uniform between the minimum and a ceiling that doubles with each failure.

    After a connection that delivered frames for ten seconds the ceiling starts again.

    Args:
        random_source: for tests; cameras of one site must not come back in step.
    """

    def __init__(self, config: CaptureConfig, random_source: random.Random | None = None) -> None:
        self._min_s = config.reconnect_min_s
        self._max_s = max(config.reconnect_min_s, config.reconnect_max_s)
        self._random = random_source or random.SystemRandom()
        self._failures = 0
        self._healthy_since_ns: int | None = None

    @property
    def ceiling_s(self) -> float:
        """The longest that the next wait can be."""
        return min(self._max_s, self._min_s * 2.0 ** min(self._failures + 1, 32))

    def frame(self, now_ns: int) -> None:
        """A frame came."""
        if self._healthy_since_ns is None:
            self._healthy_since_ns = now_ns
        elif now_ns - self._healthy_since_ns >= _HEALTHY_NS:
            self._failures = 0

    def failed(self) -> float:
        """The connection ended; returns the seconds to wait."""
        wait_s = self._random.uniform(self._min_s, self.ceiling_s)
        self._failures += 1
        self._healthy_since_ns = None
        return wait_s

    def refused(self) -> float:
        """The credentials were refused: waits near the maximum, since cameras lock out who insists."""
        self._failures = max(self._failures, 32)
        return self._random.uniform(self._max_s / 2, self._max_s)
