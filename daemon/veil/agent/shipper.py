"""One log on its way to the fleet manager: followed, signed, kept ready, sent, and let go on its receipt."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from veil.agent.batch import fitting
from veil.agent.outbox import Outbox
from veil.agent.packets import Outgoing
from veil.audit.checkpoint import Checkpoint
from veil.audit.event import Kind as EventKind
from veil.audit.note import Note, SigningKey, VerifierKey
from veil.audit.signer import LogSigner
from veil.domain.clock import NANOSECONDS
from veil.errors import EvidenceError, MessageError
from veil.messages.evidence import MAX_LINES, CheckpointNote, LogEntries, Resend
from veil.messages.topics import Kind, Topic

FOLLOWED_AT_ONCE: Final = 1024
"""Lines of one log in one turn, so that every log has its turn."""
REPEAT_S: Final = (20.0, 300.0)
"""First and longest wait for a receipt until the checkpoint is sent again."""
REWIND_S: Final = (60.0, 900.0)
"""Likewise until everything without a receipt is sent again."""
STEP: Final = 2048
"""Of a backlog so many lines are signed, and a receipt is asked for so many, at a time: what came before a
connection broke is not sent again. A link that never lasts for all of it would else never bring a receipt."""
_STEP_LAG: Final = 1024
"""Sent behind a step before its checkpoint: several collectors have then stored the lines below it."""
RESENDS_KEPT: Final = 16
_MARGIN_S: Final = 2.0
_SIGN_NOW = tuple(
    f'"kind":"{kind}"'
    for kind in (
        EventKind.SEGMENT_CLOSED,
        EventKind.KEY_CREATED,
        EventKind.KEY_ROTATED,
        EventKind.AGENT_STOPPED,
        EventKind.CAMERA_STOPPED,
    )
)

_LOG = logging.getLogger("veil.agent")
Publish = Callable[[Outgoing], bool]


@dataclass(slots=True)
class _Range:
    first: int
    end: int


class Patience:
    """A deadline that comes later each time, with jitter, until there is progress. Monotonic seconds."""

    def __init__(self, limits: tuple[float, float], random_source: random.Random) -> None:
        self._first, self._longest = limits
        self._random = random_source
        self._wait_s = self._first
        self._due_s: float | None = None

    def restart(self, now_s: float) -> None:
        """There was progress: the next wait is the shortest."""
        self._wait_s = self._first
        self._due_s = now_s + self._wait_s

    def is_over(self, now_s: float) -> bool:
        """True once at the deadline; the next one is then twice as far."""
        if self._due_s is None:
            self.restart(now_s)
        if self._due_s is None or now_s < self._due_s:
            return False
        self._wait_s = min(self._longest, self._wait_s * 2)
        self._due_s = now_s + self._wait_s * self._random.uniform(0.75, 1.25)
        return True


class Shipper:
    """One log's. Raises EvidenceError where the log was changed (from then on always when it is followed),
    LogError where the disk fails, OutboxDamagedError.

    Args:
        cosigned_size: of the newest checkpoint with a receipt.
        sign_every_s: at most so long lines stay unsigned.
    """

    def __init__(
        self, signer: LogSigner, outbox: Outbox, device: str, cosigned_size: int, sign_every_s: float
    ) -> None:
        self.name = signer.name
        self._signer = signer
        self._outbox = outbox
        self._device = device
        self._sign_after_s = max(0.5, sign_every_s - _MARGIN_S)
        self._unsigned_since_s: float | None = None
        # What a start finds unsigned may have been waiting for long.
        self._sign_now = True
        self._behind = False
        self._compared = False
        self._fits = False
        self._cosigned_size = cosigned_size
        self._sent = cosigned_size
        self._checkpoint_sent = 0
        self._step: tuple[int, Note] | None = None
        self._step_sent = 0
        self._repeat = Patience(REPEAT_S, random.SystemRandom())
        self._rewind = Patience(REWIND_S, random.SystemRandom())
        self._resends: deque[_Range] = deque(maxlen=RESENDS_KEPT)
        outbox.begin(self.name, cosigned_size)
        newest = signer.newest
        if newest is not None and signer.signed_size > cosigned_size:
            outbox.put_checkpoint(self.name, signer.signed_size, newest.encode())

    @property
    def unsigned(self) -> int:
        """Lines that were read and not signed yet."""
        return self._signer.size - self._signer.signed_size

    @property
    def waiting(self) -> int:
        """Lines without a receipt."""
        return max(0, self._signer.size - self._cosigned_size)

    def follow(self, now_s: float) -> bool:
        """Reads what is new and keeps it ready; True where there is more to read at once."""
        read = 0
        while read < FOLLOWED_AT_ONCE:
            lines = self._signer.follow(MAX_LINES)
            if not lines:
                break
            read += len(lines)
            if self._unsigned_since_s is None:
                self._unsigned_since_s = now_s
            self._sign_now |= any(mark in line for _, line in lines for mark in _SIGN_NOW)
        self._behind = read >= FOLLOWED_AT_ONCE
        filled = self._fill()
        return self._behind or filled

    def sign_if_due(self, key: SigningKey, now_s: float) -> Note | None:
        """Signs when it is time, or when something came that must not wait."""
        if self.unsigned == 0:
            self._sign_now, self._unsigned_since_s = False, None
            return None
        since_s = now_s if self._unsigned_since_s is None else self._unsigned_since_s
        # Few signatures over what is there: a long log is read by steps.
        unread = self._behind and self.unsigned < STEP
        if now_s - since_s < self._sign_after_s and (unread or not self._sign_now):
            return None
        return self.sign(key, now_s)

    def sign(self, key: SigningKey, now_s: float) -> Note | None:
        """Signs whatever was read and is not signed yet."""
        if self._signer.signed_size <= self._cosigned_size:
            # Nothing was waiting for a receipt; from now on something is.
            self._rewind.restart(now_s)
        note = self._signer.sign(key)
        self._sign_now, self._unsigned_since_s = False, None
        if note is not None:
            self._outbox.put_checkpoint(self.name, self._signer.signed_size, note.encode())
        return note

    def reconnected(self, now_s: float) -> None:
        """Whatever has no receipt is sent again: what the last connection carried may not have arrived."""
        self._send_from_receipt()
        self._repeat.restart(now_s)
        self._rewind.restart(now_s)

    def send(self, publish: Publish, max_payload: int, now_s: float) -> bool:
        """One message, if there is one; False where there is none, or the link takes none."""
        if not self._fits:
            return False
        if self._cosigned_size < min(self._sent, self._signer.signed_size) and self._rewind.is_over(now_s):
            _LOG.info("log %s: no receipt for %d lines; they are sent again", self.name, self.waiting)
            self._send_from_receipt()
        if self._resends:
            return self._send_again(publish, max_payload)
        if self._send_step(publish):
            return True
        if self._sent < self._signer.size or self._sent < self._outbox.next(self.name):
            count = self._send_lines(publish, max_payload, self._sent, MAX_LINES)
            self._sent += count
            if count:
                return True
        return self._send_checkpoint(publish, now_s)

    def cosigned(self, payload: bytes, witness_keys: Sequence[VerifierKey], now_s: float) -> int:
        """A receipt came: what it covers may leave. Returns the size that is covered from now on.

        Raises MessageError, EvidenceError for a receipt that is none; then nothing leaves.
        """
        message = CheckpointNote.decode(payload)
        if message.log != self.name:
            raise MessageError(f"The receipt is for log {message.log}, its topic for {self.name}.")
        note = Note.parse(message.note)
        self._signer.store_cosigned(note, witness_keys)
        size = Checkpoint.parse(note.text).size
        if size > self._cosigned_size:
            self._cosigned_size = size
            self._sent = max(self._sent, size)
            self._outbox.settle(self.name, size)
            self._repeat.restart(now_s)
            self._rewind.restart(now_s)
        return self._cosigned_size

    def resend(self, payload: bytes) -> None:
        """The fleet manager lacks lines. What is asked for twice is sent once. Raises MessageError."""
        message = Resend.decode(payload)
        if message.log != self.name:
            raise MessageError(f"Lines of log {message.log} are asked for on the topic of {self.name}.")
        end = min(message.first + message.count, self._signer.size)
        if end > message.first and not any(
            asked.first <= message.first and end <= asked.end for asked in self._resends
        ):
            self._resends.append(_Range(message.first, end))

    def _fill(self) -> bool:
        """Takes lines into the outbox as far as it has room; True where it took some and more are there."""
        if not self._compare():
            return False
        first = self._outbox.next(self.name)
        if first >= self._signer.size:
            return False
        lines = self._signer.lines(first, FOLLOWED_AT_ONCE)
        taken = self._outbox.put(self.name, first, [line.encode() for line in lines])
        return bool(taken) and first + taken < self._signer.size

    def _compare(self) -> bool:
        """Whether the outbox's lines are all this log's. One that was moved aside and begun anew has others:
        they are forgotten. Each line names the one before, so one stands for all below it."""
        end = self._outbox.next(self.name)
        both = min(end, self._signer.size)
        if self._compared or end == self._outbox.first(self.name):
            self._compared = self._fits = True
            return True
        if both <= self._outbox.first(self.name):
            return False
        kept = self._outbox.lines(self.name, both - 1, 1, 1)
        self._fits = [line.decode() for line in kept] == self._signer.lines(both - 1, 1)
        if not self._fits:
            _LOG.warning("log %s: the outbox held lines of another log; they are dropped", self.name)
            self._outbox.forget(self.name, self._cosigned_size)
            self._send_from_receipt()
            self._fits = True
        self._compared = both == end or self._outbox.next(self.name) != end
        return self._compared

    def _send_lines(self, publish: Publish, max_payload: int, first: int, most: int) -> int:
        """How many lines from `first` on went in one message."""
        if self._outbox.first(self.name) <= first < self._outbox.next(self.name):
            lines = [
                line.decode()
                for line in self._outbox.lines(self.name, first, min(most, MAX_LINES), max_payload)
            ]
        else:
            lines = self._signer.lines(first, min(most, MAX_LINES))
        if not lines:
            return 0
        batch = fitting(lines, max_payload)
        topic = str(Topic(self._device, Kind.LOG, self.name))
        message = LogEntries(log=self.name, first=first, lines=batch)
        return len(batch) if publish(Outgoing(topic, message.encode())) else 0

    def _send_again(self, publish: Publish, max_payload: int) -> bool:
        wanted = self._resends[0]
        try:
            count = self._send_lines(publish, max_payload, wanted.first, wanted.end - wanted.first)
        except EvidenceError:
            self._resends.popleft()
            raise
        wanted.first += count
        if wanted.first >= wanted.end:
            self._resends.popleft()
            if not self._resends:
                self._checkpoint_sent = 0
        return count > 0

    def _send_from_receipt(self) -> None:
        self._sent = self._cosigned_size
        self._checkpoint_sent = self._step_sent = 0
        self._step = None

    def _send_step(self, publish: Publish) -> bool:
        """Of a backlog: an older checkpoint, whose lines are out."""
        wanted = max(self._cosigned_size, self._step_sent) + STEP
        if self._sent < wanted + _STEP_LAG:
            return False
        if self._step is None or self._step[0] < wanted:
            self._step = self._signer.checkpoint_from(wanted)
        if self._step is None or self._step[0] + _STEP_LAG > self._sent:
            return False
        size, note = self._step
        topic = str(Topic(self._device, Kind.CHECKPOINT, self.name))
        if not publish(Outgoing(topic, CheckpointNote(log=self.name, note=note.encode()).encode())):
            return False
        self._step_sent = size
        return True

    def _send_checkpoint(self, publish: Publish, now_s: float) -> bool:
        """The newest one, once all its lines are out; again when no receipt comes."""
        waiting = self._outbox.checkpoint(self.name)
        if waiting is None or waiting.size > self._sent:
            return False
        if waiting.size <= self._checkpoint_sent and not self._repeat.is_over(now_s):
            return False
        topic = str(Topic(self._device, Kind.CHECKPOINT, self.name))
        message = CheckpointNote(log=self.name, note=waiting.note)
        if not publish(Outgoing(topic, message.encode())):
            return False
        if waiting.size > self._checkpoint_sent:
            self._repeat.restart(now_s)
        self._checkpoint_sent = waiting.size
        return True


def seconds(monotonic_ns: int) -> float:
    """A clock's time as this module takes it."""
    return monotonic_ns / NANOSECONDS
