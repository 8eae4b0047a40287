"""All logs of the box: found, followed, signed, sent. One that fails does not hold up the others."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from veil.agent.link import Link
from veil.agent.outbox import Outbox
from veil.agent.shipper import Shipper
from veil.audit.checkpoint import Checkpoint
from veil.audit.keys import KeyStore
from veil.audit.log import EVENTS_FILE
from veil.audit.note import MAX_NOTE_BYTES, Note, VerifierKey
from veil.audit.signer import COSIGNED_FILE, LogSigner
from veil.domain.clock import Clock
from veil.errors import EvidenceError, LogError, MessageError, NoteError, VeilError

LOOK_EVERY_S: Final = 1.0
"""Between two looks for logs that are new."""
TRY_AGAIN_S: Final = 60.0
"""Until a log that failed is opened again: somebody may have moved it aside."""
MOST_LOGS: Final = 64

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_LOG = logging.getLogger("veil.agent")


@dataclass(slots=True)
class _Followed:
    """A log that is open.

    Attributes:
        damaged: it was changed; what the outbox holds of it is sent still, it is neither followed nor signed.
    """

    signer: LogSigner
    shipper: Shipper
    damaged: bool = False


class Evidence:
    """A context manager. One thread's. Its methods raise OutboxDamagedError; `use` then takes the new outbox.

    Args:
        folder: STATE_DIR/log.
        report: told of each log that is damaged, or cannot be read, once for each reason.
        beat: called between two logs: a long one takes its time when it is opened.
    """

    def __init__(
        self,
        folder: Path,
        device: str,
        clock: Clock,
        outbox: Outbox,
        keys: KeyStore,
        witness_keys: Sequence[VerifierKey],
        sign_every_s: float,
        report: Callable[[str, VeilError], None],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._device = device
        self._clock = clock
        self._outbox = outbox
        self.keys = keys
        self._witness_keys = witness_keys
        self._sign_every_s = sign_every_s
        self._report = report
        self._beat = beat
        self._logs: dict[str, _Followed] = {}
        self._not_before_s: dict[str, float] = {}
        self._reported: dict[str, str] = {}
        self._look_at_s = 0.0
        self._turn = 0

    @property
    def waiting(self) -> int:
        """Lines without a receipt, of all logs."""
        return sum(followed.shipper.waiting for followed in self._logs.values())

    def use(self, outbox: Outbox) -> None:
        """Fills another outbox from the logs and their receipts."""
        self._outbox = outbox
        for name, followed in self._logs.items():
            followed.shipper = self._shipper(name, followed.signer)

    def step(self, now_s: float) -> bool:
        """Follows and signs; True where a log has more than was read in this turn."""
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_EVERY_S
            self._find(now_s)
        busy = False
        for name, followed in list(self._logs.items()):
            self._beat()
            if followed.damaged:
                continue
            try:
                busy |= followed.shipper.follow(now_s)
                followed.shipper.sign_if_due(self.keys.signing_key, now_s)
            except (EvidenceError, LogError) as error:
                self._failed(name, followed, error, now_s)
        return busy

    def sign_all(self, now_s: float) -> None:
        """At the end: what was written is read and signed."""
        self._find(now_s)
        for name, followed in self._logs.items():
            if followed.damaged:
                continue
            try:
                while followed.shipper.follow(now_s):
                    pass
                followed.shipper.sign(self.keys.signing_key, now_s)
            except (EvidenceError, LogError) as error:
                self._failed(name, followed, error, now_s)

    def reconnected(self, now_s: float) -> None:
        for followed in self._logs.values():
            followed.shipper.reconnected(now_s)

    def send(self, link: Link, now_s: float) -> bool:
        """Log after log in turn, while the link has room; whether anything was sent."""
        names = list(self._logs)
        sent, idle = False, 0
        while names and idle < len(names) and link.room > 0:
            self._turn = (self._turn + 1) % len(names)
            name = names[self._turn]
            followed = self._logs[name]
            try:
                did = followed.shipper.send(link.publish, link.max_payload, now_s)
            except (EvidenceError, LogError) as error:
                self._failed(name, followed, error, now_s)
                did = False
            idle = 0 if did else idle + 1
            sent |= did
        return sent

    def cosigned(self, log: str, payload: bytes, now_s: float) -> None:
        """A receipt came. Raises MessageError, EvidenceError for one that is none, LogError for the disk."""
        self._known(log).shipper.cosigned(payload, self._witness_keys, now_s)

    def resend(self, log: str, payload: bytes) -> None:
        """Lines are asked for. Raises MessageError."""
        self._known(log).shipper.resend(payload)

    def _known(self, log: str) -> _Followed:
        if log not in self._logs:
            raise MessageError("There is no such log.")
        return self._logs[log]

    def _find(self, now_s: float) -> None:
        try:
            found = sorted(
                path.parent.name
                for path in self._folder.glob(f"*/{EVENTS_FILE}")
                if _NAME.fullmatch(path.parent.name)
            )
        except OSError as error:
            _LOG.warning("%s cannot be looked through: %s", self._folder, error.strerror)
            return
        for name in found[:MOST_LOGS]:
            known = self._logs.get(name)
            if (known is None or known.damaged) and now_s >= self._not_before_s.get(name, 0.0):
                self._open(name, known, now_s)

    def _open(self, name: str, known: _Followed | None, now_s: float) -> None:
        self._beat()
        try:
            signer = LogSigner(self._folder / name, name, self._device, self._clock)
        except (EvidenceError, LogError) as error:
            self._failed(name, known, error, now_s)
            return
        if known is not None:
            known.signer.close()
        self._logs[name] = _Followed(signer, self._shipper(name, signer))

    def _shipper(self, name: str, signer: LogSigner) -> Shipper:
        size = _cosigned_size(self._folder / name / COSIGNED_FILE)
        return Shipper(signer, self._outbox, self._device, size, self._sign_every_s)

    def _failed(self, name: str, followed: _Followed | None, error: VeilError, now_s: float) -> None:
        if isinstance(error, EvidenceError):
            self._not_before_s[name] = now_s + TRY_AGAIN_S
            if followed is not None:
                followed.damaged = True
        elif followed is None:
            self._not_before_s[name] = now_s + TRY_AGAIN_S / 6
        if self._reported.get(name) != error.message:
            self._reported[name] = error.message
            self._report(name, error)

    @property
    def damaged(self) -> tuple[str, ...]:
        """Logs that were changed, or cannot be opened."""
        return tuple(sorted(name for name in self._reported if self._is_failing(name)))

    def _is_failing(self, name: str) -> bool:
        return name not in self._logs or self._logs[name].damaged

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as scope:
            for followed in self._logs.values():
                scope.callback(followed.signer.close)


def _cosigned_size(path: Path) -> int:
    """Of the newest receipt; 0 without one that can be read: then everything is sent again."""
    try:
        with path.open("rb") as file:
            return Checkpoint.parse(Note.parse(file.read(MAX_NOTE_BYTES + 1).decode()).text).size
    except (OSError, ValueError, NoteError):
        return 0
