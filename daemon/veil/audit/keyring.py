"""The records of keys.jsonl: which keys sign for a box, and where each one ends (docs/log-format.md)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from veil.audit.canonical import dump, parse_line
from veil.audit.checkpoint import key_name_of
from veil.audit.forms import LOG_NAME, is_time
from veil.audit.note import ED25519, SigningKey, VerifierKey, decode_base64
from veil.errors import EvidenceError, KeyFormatError

SIGNATURE_PREFIX = b"veil-key/v1\n"
_FIELDS = {"device", "new", "old", "signed_by_new", "signed_by_old", "sizes", "time"}


class RecordError(EvidenceError):
    """A record does not hold. `code`: as in docs/log-format.md, Findings."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One line: from here on `new` signs.

    Attributes:
        old: the key before; None in the first record.
        sizes: for each log that has checkpoints signed with `old`, the size of the last one.
    """

    device: str
    new: VerifierKey
    old: VerifierKey | None
    sizes: Mapping[str, int]
    time: str
    signed_by_new: bytes
    signed_by_old: bytes | None

    def _unsigned(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "new": str(self.new),
            "old": None if self.old is None else str(self.old),
            "sizes": dict(self.sizes),
            "time": self.time,
        }

    @property
    def message(self) -> bytes:
        """What both keys sign."""
        return SIGNATURE_PREFIX + dump(self._unsigned())

    def line(self) -> bytes:
        """As in keys.jsonl, without the newline."""
        by_old = None if self.signed_by_old is None else base64.b64encode(self.signed_by_old).decode()
        by_new = base64.b64encode(self.signed_by_new).decode()
        return dump({**self._unsigned(), "signed_by_new": by_new, "signed_by_old": by_old})

    @classmethod
    def make(
        cls, device: str, new: SigningKey, old: SigningKey | None, sizes: Mapping[str, int], time: str
    ) -> Self:
        """Signed by both keys, or by the first one alone."""
        former = None if old is None else old.verifier
        bare = cls(device, new.verifier, former, sizes, time, b"", None)
        by_old = None if old is None else old.sign(bare.message)
        return cls(device, new.verifier, former, sizes, time, new.sign(bare.message), by_old)

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Raises NotCanonicalError, and RecordError; signatures are not looked at."""
        said = parse_line(line)
        if said.keys() != _FIELDS:
            raise RecordError("bad_field", "A record has exactly the keys of a record.")
        device, sizes, time = said["device"], said["sizes"], said["time"]
        if not isinstance(device, str) or not LOG_NAME.fullmatch(device):
            raise RecordError("bad_field", "`device` is no name of a box.")
        if not isinstance(time, str) or not is_time(time):
            raise RecordError("bad_field", "`time` is no time.")
        if not isinstance(sizes, dict) or not all(
            LOG_NAME.fullmatch(log) and isinstance(size, int) and size > 0 for log, size in sizes.items()
        ):
            raise RecordError("bad_field", "`sizes` names logs and the sizes of their checkpoints.")
        texts = said["new"], said["old"], said["signed_by_new"], said["signed_by_old"]
        if not all(isinstance(text, str) for text in texts[::2]) or not all(
            text is None or isinstance(text, str) for text in texts
        ):
            raise RecordError("bad_field", "Keys and signatures are strings.")
        return cls(
            device,
            _key(texts[0], device),
            None if texts[1] is None else _key(texts[1], device),
            sizes,
            time,
            _signature(texts[2]),
            None if texts[3] is None else _signature(texts[3]),
        )


def _key(text: str, device: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(text)
    except KeyFormatError as error:
        raise RecordError("bad_key", error.message) from None
    if str(key) != text or key.name != key_name_of(device) or key.algorithm != ED25519:
        raise RecordError("bad_key", f"A key of {device} is named {key_name_of(device)} and signs notes.")
    return key


def _signature(text: str) -> bytes:
    try:
        raw = decode_base64(text)
    except ValueError:
        raise RecordError("bad_field", "A signature is base64.") from None
    if len(raw) != 64:
        raise RecordError("bad_field", "A signature has 64 bytes.")
    return raw


@dataclass(slots=True)
class Keyring:
    """The records that held, in order."""

    records: list[KeyRecord] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> Self:
        """Raises RecordError or NotCanonicalError at the first line that does not hold."""
        ring = cls()
        for line in lines:
            ring.add(KeyRecord.parse(line))
        return ring

    def add(self, record: KeyRecord) -> None:
        """Raises RecordError unless `record` continues the ones before and is signed as it must be."""
        if any(record.new == known.new for known in self.records):
            raise RecordError("bad_key", "The key was there before.")
        last = self.records[-1] if self.records else None
        if last is None:
            if record.old is not None or record.signed_by_old is not None or record.sizes:
                raise RecordError("bad_rotation", "The first record has no key before it.")
        else:
            if record.device != last.device:
                raise RecordError("bad_field", "`device` is not the one of the records before.")
            if record.old != last.new or record.signed_by_old is None:
                raise RecordError("bad_rotation", "`old` is not the key of the record before.")
        if not record.new.verify(record.signed_by_new, record.message):
            raise RecordError("bad_rotation", "The signature of the new key does not fit.")
        if record.old is not None and not record.old.verify(record.signed_by_old or b"", record.message):
            raise RecordError("bad_rotation", "The signature of the old key does not fit.")
        self.records.append(record)

    @property
    def device(self) -> str:
        return self.records[0].device

    @property
    def current(self) -> VerifierKey:
        return self.records[-1].new

    def index(self, name: str, key_id: bytes) -> int | None:
        """Which record's `new` has this name and id; None for an unknown key."""
        for number, record in enumerate(self.records):
            if record.new.id == key_id and record.new.name == name:
                return number
        return None

    def last_size(self, number: int, log: str) -> int | None:
        """The size at which the key of record `number` ended for a log; None while it signs.

        0 where the log must have no checkpoint of that key.
        """
        if number + 1 >= len(self.records):
            return None
        return self.records[number + 1].sizes.get(log, 0)
