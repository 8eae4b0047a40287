"""Refused commands as evidence, without letting whoever floods the box fill its disk."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Final

from veil.agent.commands.verify import Reason, Refusal
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventSink
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import LogError

SINGLE_EVENTS: Final = 10
WINDOW_S: Final = 600


class RefusalLog:
    """The first `SINGLE_EVENTS` of a window of `WINDOW_S` are an event each; the rest are counted by reason,
    and the window ends with one event for each reason. A permanent flood costs about a megabyte a day.

    Each event has `reason` and `count`; events that sum up have `summed` (how many seconds).
    """

    def __init__(self, log: EventSink, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._single = 0
        self._counted: Counter[Reason] = Counter()
        self._window_ends_ns = 0

    def note(self, refusal: Refusal) -> None:
        self.step()
        if not self._window_ends_ns:
            self._window_ends_ns = self._clock.monotonic_ns() + WINDOW_S * NANOSECONDS
        if self._single >= SINGLE_EVENTS:
            self._counted[refusal.reason] += 1
            return
        self._single += 1
        data: dict[str, Value] = {"reason": str(refusal.reason), "count": 1}
        if refusal.key_id:
            data["key"] = refusal.key_id
        if refusal.nonce:
            data["nonce"] = refusal.nonce
        try:
            self._log.append(Event(Kind.COMMAND_REFUSED, data))
        except LogError:
            self._counted[refusal.reason] += 1

    def step(self) -> None:
        """Closes a window that is over."""
        if self._window_ends_ns and self._clock.monotonic_ns() >= self._window_ends_ns:
            self.flush()

    def flush(self) -> None:
        """Says what was counted, and begins anew. What the log does not take stays counted."""
        self._single, self._window_ends_ns = 0, 0
        with suppress(LogError):
            for reason in sorted(self._counted):
                data: dict[str, Value] = {
                    "reason": str(reason),
                    "count": self._counted[reason],
                    "summed": WINDOW_S,
                }
                self._log.append(Event(Kind.COMMAND_REFUSED, data))
                del self._counted[reason]
        if self._counted:
            self._window_ends_ns = self._clock.monotonic_ns() + WINDOW_S * NANOSECONDS
            self._single = SINGLE_EVENTS
