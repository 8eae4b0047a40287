"""The desk: payloads of `veil/DEVICE/command` in, responses out. Each at most once, each one evidence."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

from veil.agent.commands.actions import Actions, Done
from veil.agent.commands.nonces import NonceStore
from veil.agent.commands.refusals import RefusalLog
from veil.agent.commands.verify import Order, Reason, Refusal, verify
from veil.audit.event import Event, Kind, Value
from veil.audit.log import EventSink, note_fault
from veil.audit.note import VerifierKey
from veil.domain.clock import Clock
from veil.errors import LogError, MessageError, VeilError
from veil.messages.command import Response

_MAX_TEXT: Final = 400
_TEXTS: Final = {
    Reason.REPLAYED: "The command was taken before.",
    Reason.EXPIRED: "The command had expired before the last one that was taken was issued.",
    Reason.BUSY: "Too many commands; try again in some minutes.",
    Reason.UNAVAILABLE: "The box cannot keep that it took the command; look at its disk.",
}


class CommandDesk:
    """A context manager. `handle` may be called from any thread; one command is carried out at a time.

    Args:
        trusted_keys: verifier keys (NAME+ID+BASE64) as in `fleet.command_keys`; none: everything is refused.
        state_folder: for the store of nonces; made when missing.
        log: the box's own.

    Raises KeyFormatError for a trusted key that is none, CommandError for a folder that cannot be used,
    LogError for a log that takes nothing.
    """

    def __init__(
        self,
        device: str,
        trusted_keys: Iterable[str],
        state_folder: Path,
        log: EventSink,
        clock: Clock,
        actions: Actions,
    ) -> None:
        self._device = device
        self._log = log
        self._clock = clock
        self._actions = actions
        self._lock = threading.Lock()
        self._trusted: dict[bytes, VerifierKey] = {}
        self._owed: deque[tuple[Order, str]] = deque()
        self.trust(trusted_keys)
        self._refusals = RefusalLog(log, clock)
        self._nonces = NonceStore(state_folder, clock.wall_ns())
        try:
            if self._nonces.was_damaged:
                note_fault(log, "The store of taken commands was damaged; older ones are refused.")
            for taken in self._nonces.unfinished():
                self._append_done(taken.command, taken.key, taken.nonce, "interrupted")
                self._nonces.finish(taken.nonce)
        except VeilError:
            self._nonces.close()
            raise

    def trust(self, keys: Iterable[str]) -> None:
        """From now on these keys and no others. Raises KeyFormatError; then nothing changes."""
        parsed = [VerifierKey.parse(key) for key in keys]
        self._trusted = {key.id: key for key in parsed}

    def handle(self, payload: bytes) -> Response:
        """Never raises, whatever `payload` is. May take seconds (a manifest of a long log)."""
        with self._lock:
            self._settle()
            order = verify(payload, self._device, self._trusted, self._clock.wall_ns())
            if isinstance(order, Refusal):
                return self._refuse(order)
            reason = self._nonces.take(order)
            if reason is not None:
                return self._refuse(Refusal(reason, _TEXTS[reason], order.body.nonce, order.key.id.hex()))
            return self._carry_out(order)

    def step(self) -> None:
        """To be called now and then, once a second say: tells of refusals that were only counted, and of what
        the log did not take before."""
        with self._lock:
            self._settle()
            self._refusals.step()

    def _refuse(self, refusal: Refusal) -> Response:
        self._refusals.note(refusal)
        return Response(nonce=refusal.nonce, error=f"{refusal.reason}: {refusal.text}"[:_MAX_TEXT])

    def _carry_out(self, order: Order) -> Response:
        nonce, key = order.body.nonce, order.key.id.hex()
        try:
            done = self._actions.run(order.body)
            response = _response(nonce, done)
            for event in done.events:
                self._log.append(Event(event.kind, {**event.data, "key": key, "nonce": nonce}))
            outcome = "done"
        except (VeilError, OSError) as error:
            said = str(error) if isinstance(error, VeilError) else error.strerror or type(error).__name__
            response = Response(nonce=nonce, error=f"failed: {said}"[:_MAX_TEXT])
            outcome = f"failed {type(error).__name__}"
        self._owed.append((order, outcome))
        problem = self._settle()
        # What is not in the log does not leave the box.
        return Response(nonce=nonce, error=f"failed: {problem}"[:_MAX_TEXT]) if problem else response

    def _settle(self) -> LogError | None:
        """Logs the ends of commands; else, why that cannot be done now. Bounded as the store is."""
        while self._owed:
            order, outcome = self._owed[0]
            nonce = order.body.nonce
            try:
                self._append_done(order.body.command, order.key.id.hex(), nonce, outcome)
            except LogError as error:
                return error
            self._owed.popleft()
            self._nonces.finish(nonce)
        return None

    def _append_done(self, command: str, key: str, nonce: str, outcome: str) -> None:
        data: dict[str, Value] = {
            "command": str(command),
            "key": key,
            "nonce": nonce,
            "outcome": outcome,
        }
        self._log.append(Event(Kind.COMMAND_DONE, data))

    def close(self) -> None:
        with self._lock:
            self._settle()
            self._refusals.flush()
            self._nonces.close()

    def __enter__(self) -> CommandDesk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _response(nonce: str, done: Done) -> Response:
    """Raises MessageError for one that no message can carry."""
    response = Response(nonce=nonce, result=done.result)
    try:
        response.encode()
    except MessageError as error:
        raise MessageError(f"The answer does not fit into a message: {error.message}") from error
    return response
