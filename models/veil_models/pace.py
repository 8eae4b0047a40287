"""How many threads are worth having while other work comes and goes on the same cores."""

from __future__ import annotations

import time

import torch

PROBE = 3
PERIOD = 60


class Pace:
    """Tries one and all threads for a few steps each, keeps the faster for a while, and asks again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._step = 0
        self._since = 0.0
        self._spent = {1: 0.0, most: 0.0}

    def step(self) -> None:
        """Call before every training step."""
        if self._most == 1:
            return
        now, at = time.monotonic(), self._step % PERIOD
        if at == 0:
            torch.set_num_threads(1)
        elif at == PROBE:
            self._spent[1] = now - self._since
            torch.set_num_threads(self._most)
        elif at == 2 * PROBE:
            self._spent[self._most] = now - self._since
            torch.set_num_threads(min(self._spent, key=lambda n: self._spent[n]))
        if at in (0, PROBE):
            self._since = now
        self._step += 1

    @property
    def spent(self) -> dict[int, float]:
        """Seconds that PROBE steps took with each number of threads."""
        return self._spent
