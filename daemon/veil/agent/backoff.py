"""How long to wait before the next connection: boxes of one fleet must not come back in step."""

from __future__ import annotations

import random
from typing import Final

MIN_S: Final = 1.0
MAX_S: Final = 60.0


class Backoff:
    """Uniform between `MIN_S` and a ceiling that doubles with each failure, up to `MAX_S`."""

    def __init__(self, random_source: random.Random | None = None) -> None:
        self._random = random_source or random.SystemRandom()
        self._failures = 0

    def next_s(self) -> float:
        """Seconds to wait after a failure."""
        self._failures = min(self._failures + 1, 16)
        return self._random.uniform(MIN_S, min(MAX_S, MIN_S * 2.0**self._failures))

    def reset(self) -> None:
        """A connection held."""
        self._failures = 0
