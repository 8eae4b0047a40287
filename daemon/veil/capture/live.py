"""What live cameras share: sessions, and reconnecting between them for ever."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator

from veil.capture.backoff import Backoff
from veil.capture.intake import Intake, take_now
from veil.capture.source import CaptureObserver, PoolProvider
from veil.config import CaptureConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import CaptureError, SourceEndedError
from veil.frames.raw import RawFrame

_LOOK_S = 0.2


class AccessRefusedError(CaptureError):
    """User or password are wrong, or missing."""


class LiveSource:
    """Runs sessions one after the other, with jittered waits between, until closed.

    A session is one connection: it yields frames and ends by raising CaptureError (or by returning, which
    means the camera ended the stream).
    """

    def __init__(
        self,
        config: CaptureConfig,
        pools: PoolProvider,
        observer: CaptureObserver,
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        self.config = config
        self.observer = observer
        self.clock = clock
        self.closed = threading.Event()
        self.intake = Intake(pools, observer, clock, take_now)
        self._backoff = backoff or Backoff(config)

    @property
    def is_live(self) -> bool:
        return True

    @abstractmethod
    def session(self) -> Iterator[RawFrame]:
        """One connection. Looks at `closed` at least five times a second."""

    def frames(self) -> Iterator[RawFrame]:
        while not self.closed.is_set():
            error: CaptureError = SourceEndedError("The camera ended the stream.")
            try:
                for raw in self.session():
                    self._backoff.frame(raw.info.captured_ns)
                    yield raw
            except CaptureError as failure:
                error = failure
            if self.closed.is_set():
                return
            is_refused = isinstance(error, AccessRefusedError)
            wait_s = self._backoff.refused() if is_refused else self._backoff.failed()
            self.observer.disconnected(error, wait_s)
            self._wait(wait_s)

    def close(self) -> None:
        self.closed.set()

    def _wait(self, seconds: float) -> None:
        deadline_ns = self.clock.monotonic_ns() + round(seconds * NANOSECONDS)
        while (left_ns := deadline_ns - self.clock.monotonic_ns()) > 0:
            if self.closed.wait(min(_LOOK_S, left_ns / NANOSECONDS)):
                return
