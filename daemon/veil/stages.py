"""Groups of services that end one after the other: what others still need ends last."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType

from veil.supervise import Service, Supervision

_TURN_S = 0.2


class Stages:
    """A context manager; leaving it ends all stages, the last one first."""

    def __init__(self) -> None:
        self._running: list[tuple[Supervision, ExitStack]] = []

    def __enter__(self) -> Stages:
        return self

    def start(self, services: Sequence[Service]) -> None:
        """One more stage."""
        scope = ExitStack()
        supervision = scope.enter_context(Supervision(services))
        self._running.append((supervision, scope))
        supervision.step(0.0)

    def run(self, until: Callable[[], bool]) -> None:
        """Looks after all services until `until()` is true, several times a second."""
        while not until():
            share_s = _TURN_S / max(1, len(self._running))
            for supervision, _ in self._running:
                supervision.step(share_s)

    def run_for(self, seconds: float, until: Callable[[], bool]) -> None:
        """The same, for so long at most."""
        deadline = time.monotonic() + seconds
        self.run(lambda: until() or time.monotonic() >= deadline)

    def end_last(self) -> None:
        """Ends the stage that was started last."""
        _, scope = self._running.pop()
        scope.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as all_of_them:
            for _, scope in self._running:
                all_of_them.push(scope.__exit__)
        self._running.clear()
