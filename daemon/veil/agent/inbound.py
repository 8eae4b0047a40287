"""What comes from the broker: sorted by topic, each kind to whom it is for; what is none is counted."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from veil.agent.commands import CommandDesk
from veil.agent.packets import Inbound, Outgoing
from veil.audit.log import EventSink, note_fault
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import LogError, MessageError
from veil.messages.topics import Kind, Topic

COMMANDS_WAITING: Final = 16
RESPONSES_WAITING: Final = 32
RESPONSE_EXPIRY_S: Final = 300
SINGLE_EVENTS: Final = 5
WINDOW_S: Final = 600
_MAX_CORRELATION_BYTES: Final = 256


class Refusals:
    """Messages that were refused: the first `SINGLE_EVENTS` of a window of `WINDOW_S` are an event each, the
    others are counted, and the window ends with their number. Holds nothing of what was refused."""

    def __init__(self, log: EventSink, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._single = 0
        self._counted = 0
        self._ends_ns = 0
        self.total = 0

    def note(self, where: str, why: str) -> None:
        """`where`: a name of ours, such as `cosign/front`; `why` without anything of the payload."""
        self.step()
        self.total += 1
        if not self._ends_ns:
            self._ends_ns = self._clock.monotonic_ns() + WINDOW_S * NANOSECONDS
        if self._single >= SINGLE_EVENTS or not self._say(f"A message on {where} was refused: {why}"):
            self._counted += 1
            return
        self._single += 1

    def step(self) -> None:
        """Ends a window that is over."""
        if not self._ends_ns or self._clock.monotonic_ns() < self._ends_ns:
            return
        text = f"{self._counted} more messages were refused within {WINDOW_S} s"
        if self._counted and not self._say(text):
            return
        self._single = self._counted = self._ends_ns = 0

    def _say(self, text: str) -> bool:
        try:
            note_fault(self._log, text)
        except LogError:
            return False
        return True


class CommandWorker:
    """Carries commands out on a thread of its own: a long one does not hold up status and evidence.

    Args:
        wake: called from that thread when a response is ready.
    """

    def __init__(self, desk: CommandDesk, device: str, wake: Callable[[], None]) -> None:
        self._desk = desk
        self._device = device
        self._wake = wake
        self._waiting: queue.Queue[Inbound] = queue.Queue(COMMANDS_WAITING)
        self._responses: deque[Outgoing] = deque(maxlen=RESPONSES_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="commands", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether somebody carries commands out."""
        return self._thread.is_alive()

    def submit(self, message: Inbound) -> None:
        """Raises MessageError where too many wait already; nobody is answered then."""
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            raise MessageError(f"Over {COMMANDS_WAITING} commands are waiting.") from None

    def flush(self, publish: Callable[[Outgoing], bool], max_payload: int) -> None:
        """Publishes what is answered, as far as the link takes it; what the broker never takes is dropped."""
        while self._responses:
            first = self._responses[0]
            if len(first.payload) <= max_payload and not publish(first):
                return
            with suppress(IndexError):
                self._responses.popleft()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                message = self._waiting.get(timeout=1.0)
            except queue.Empty:
                self._desk.step()
                continue
            response = self._desk.handle(message.payload)
            topic = Topic.parse(message.response_topic)
            # Whoever asks cannot choose where else the box writes.
            if topic is None or topic.kind is not Kind.RESPONSE or topic.device != self._device:
                continue
            if len(message.correlation) > _MAX_CORRELATION_BYTES:
                continue
            self._responses.append(
                Outgoing(
                    str(topic),
                    response.encode(),
                    expiry_s=RESPONSE_EXPIRY_S,
                    correlation=message.correlation or None,
                )
            )
            self._wake()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)
