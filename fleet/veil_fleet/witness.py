"""The witness: what a box signs is held against what it sent and signed before, and cosigned when it fits.

Pure: the caller brings the state and the lines, and makes the verdict durable before anybody hears of it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, origin_of
from veil.audit.keyring import Keyring
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, VerifierKey, cosign_note
from veil.audit.tree import HASH_BYTES, Frontier, leaf_hash
from veil.errors import ConfigError, KeyFormatError, NoteError
from veil_fleet.broker import share_group
from veil_fleet.collector.alarms import AlarmKind, Raised
from veil_fleet.keyfile import make_key
from veil_fleet.settings import FleetSettings

Lines = Callable[[int, int], Iterable[bytes]]
"""(first, end) -> the stored lines of the log in order, all of them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store knows of a log.

    Attributes:
        stored_size: lines 0 .. stored_size - 1 are there.
        cosigned: size, root peaks and note of the newest cosigned checkpoint; size 0: none yet.
    """

    device: str
    log: str
    stored_size: int
    cosigned_size: int
    peaks: bytes
    cosigned: str


@dataclass(frozen=True, slots=True)
class Older:
    """A cosigned checkpoint below the newest: its size, its peaks, and its note; size 0: none."""

    size: int
    peaks: bytes
    note: str


@dataclass(frozen=True, slots=True)
class Cosigned:
    """It fits. `alarm`: what a person should know all the same."""

    size: int
    peaks: bytes
    note: str
    alarm: Raised | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """It was cosigned before: the receipt was lost on its way."""

    note: str


@dataclass(frozen=True, slots=True)
class LacksLines:
    """Signed by the box, and not all of its lines are here yet."""

    size: int


@dataclass(frozen=True, slots=True)
class LacksKey:
    """Signed by a key that the box has not shown yet."""

    key: str


@dataclass(frozen=True, slots=True)
class Overtaken:
    """An older checkpoint that came late: it fits, and says nothing new."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Not cosigned, and said."""

    alarm: Raised


Verdict = Cosigned | Again | LacksLines | LacksKey | Overtaken | Objection


def split_peaks(peaks: bytes, size: int) -> Frontier:
    """The tree of `size` lines from what a row holds."""
    return Frontier(size, [peaks[at : at + HASH_BYTES] for at in range(0, len(peaks), HASH_BYTES)])


class Witness:
    """Cosigns with one key."""

    def __init__(self, key: SigningKey) -> None:
        if key.algorithm != COSIGNATURE_V1:
            raise ValueError("a witness's key makes cosignatures")
        self._key = key

    @classmethod
    def open(cls, settings: FleetSettings) -> Witness:
        """With the key in `settings.witness_key_file`, which is made at first start, mode 0600.

        Raises KeyFormatError for a damaged key, ConfigError where it cannot be made.
        """
        path = settings.witness_key_file
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            return cls(make_key(path, settings.witness.name, COSIGNATURE_V1))
        except OSError as error:
            raise ConfigError(f"The witness key {path} cannot be made: {error.strerror}.") from None

    @property
    def verifier(self) -> VerifierKey:
        return self._key.verifier

    @property
    def group(self) -> str:
        """Name of the shared subscription of the collectors that have this key, a secret of theirs."""
        return share_group(self._key.seed)

    def examine(
        self, encoded: str, seen: Seen, keys: Keyring, lines: Lines, older: Callable[[int], Older], now_s: int
    ) -> Verdict:
        """What to do with a signed note that came as a checkpoint of the log `seen`.

        Args:
            older: the newest cosigned checkpoint of at most that size.
            now_s: POSIX seconds, of the cosignature.
        """
        try:
            note = Note.parse(encoded)
            checkpoint = Checkpoint.parse(note.text)
        except NoteError as error:
            return _objection(seen, AlarmKind.BAD_SIGNATURE, f"Not a checkpoint: {error.message}")
        if len(note.signatures) != 1 or checkpoint.size == 0:
            return _objection(
                seen, AlarmKind.BAD_SIGNATURE, "A checkpoint has one signature, and lines.", received=encoded
            )
        if checkpoint.origin != origin_of(seen.device, seen.log):
            return _objection(
                seen, AlarmKind.BAD_SIGNATURE, "A checkpoint with another log's origin.", received=encoded
            )
        signature = note.signatures[0]
        number = keys.index(signature.name, signature.key_id)
        if number is None:
            return LacksKey(f"{signature.name}+{signature.key_id.hex()}")
        try:
            note.verify(keys.records[number].new)
        except (NoteError, KeyFormatError):
            return _objection(
                seen, AlarmKind.BAD_SIGNATURE, "The box's signature does not fit the note.", received=encoded
            )
        last = keys.last_size(number, seen.log)
        if last is not None and checkpoint.size > last:
            return _objection(
                seen,
                AlarmKind.UNKNOWN_KEY,
                f"A checkpoint of {checkpoint.size} lines, signed with a key that ended at {last}.",
                received=encoded,
            )
        return self._compare(checkpoint, note, seen, lines, older, now_s)

    def _compare(
        self,
        checkpoint: Checkpoint,
        note: Note,
        seen: Seen,
        lines: Lines,
        older: Callable[[int], Older],
        now_s: int,
    ) -> Verdict:
        if checkpoint.size > seen.stored_size:
            return LacksLines(checkpoint.size)
        known = Older(seen.cosigned_size, seen.peaks, seen.cosigned)
        if checkpoint.size < seen.cosigned_size:
            known = older(checkpoint.size)
        frontier = split_peaks(known.peaks, known.size)
        for line in lines(known.size, checkpoint.size):
            frontier.append(leaf_hash(line))
        if frontier.size != checkpoint.size:
            return LacksLines(checkpoint.size)
        if frontier.root() != checkpoint.root:
            return _objection(
                seen,
                AlarmKind.FORK,
                f"The box signed a root for {checkpoint.size} lines that is not that of the lines it sent.",
                size=checkpoint.size,
                received=note.encode(),
                cosigned=known.note,
                root=base64.b64encode(frontier.root()).decode(),
            )
        if known.size == checkpoint.size:
            if Note.parse(known.note).text == note.text:
                return Again(known.note)
            return Again(cosign_note(note, self._key, now_s).encode())
        if checkpoint.size < seen.cosigned_size:
            newest = Checkpoint.parse(Note.parse(seen.cosigned).text)
            if checkpoint.time < newest.time:
                # Several collectors, or a retry of the broker: the younger one was quicker.
                return Overtaken()
            return _objection(
                seen,
                AlarmKind.ROLLBACK,
                f"The box signed {checkpoint.size} lines after it had signed {seen.cosigned_size}.",
                received=note.encode(),
                cosigned=seen.cosigned,
            )
        return Cosigned(
            checkpoint.size,
            b"".join(frontier.peaks),
            cosign_note(note, self._key, now_s).encode(),
            _second_history(checkpoint, note, seen),
        )


def _second_history(checkpoint: Checkpoint, note: Note, seen: Seen) -> Raised | None:
    """The lines fit, but the list of checkpoints behind them is another one: told, and cosigned."""
    if not seen.cosigned_size:
        return None
    before = Checkpoint.parse(Note.parse(seen.cosigned).text)
    if checkpoint.previous not in {before.previous, FIRST_PREVIOUS}:
        return None
    return Raised(
        seen.device,
        seen.log,
        AlarmKind.FORK,
        f"The checkpoints of {seen.cosigned_size} and of {checkpoint.size} lines do not follow each other.",
        {"received": note.encode(), "cosigned": seen.cosigned},
    )


def _objection(seen: Seen, kind: AlarmKind, text: str, **evidence: str | int) -> Objection:
    return Objection(Raised(seen.device, seen.log, kind, text, evidence))
