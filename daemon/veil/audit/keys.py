"""The box's signing key on disk: made at the first start, rotated without a moment in which none is known."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from veil.audit.canonical import NotCanonicalError
from veil.audit.checkpoint import key_name_of
from veil.audit.durable import replace_file, split_lines
from veil.audit.event import Event, Kind, timestamp
from veil.audit.keyring import KeyRecord, Keyring, RecordError
from veil.audit.log import EventSink
from veil.audit.note import ED25519, SigningKey, VerifierKey, decode_base64
from veil.domain.clock import Clock
from veil.errors import EvidenceError, KeyFormatError
from veil.host.disk import sync_directory

KEYS_FILE = "keys.jsonl"
CREDENTIAL = "veil-signing-key"
_PREFIX = "PRIVATE+KEY+"
_KEEP = "Do not delete anything: restore the key from its backup, or move the folder aside as evidence."


def credential_file(environ: Mapping[str, str]) -> Path | None:
    """Where systemd put the signing key (`LoadCredential=veil-signing-key:...`); None where it did not."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and path.is_file() else None


def encode_private(key: SigningKey) -> str:
    """`PRIVATE+KEY+NAME+ID+BASE64`, as other programs for signed notes write it. Secret."""
    encoded = base64.b64encode(bytes([key.algorithm]) + key.seed).decode()
    return f"{_PREFIX}{key.name}+{key.verifier.id.hex()}+{encoded}\n"


def decode_private(text: str) -> SigningKey:
    """Raises KeyFormatError; its text never repeats what was read."""
    damaged = KeyFormatError("The signing key's file is no private key.", hint=_KEEP)
    text = text.strip()
    try:
        name, identity, encoded = text.removeprefix(_PREFIX).split("+", 2)
        raw = decode_base64(encoded)
    except ValueError:
        raise damaged from None
    if not text.startswith(_PREFIX) or len(raw) != 33 or raw[0] != ED25519:
        raise damaged
    key = SigningKey.from_seed(name, raw[1:])
    if key.verifier.id.hex() != identity:
        raise damaged
    return key


class KeyStore:
    """The key that signs, and keys.jsonl beside the logs. One process has it open at a time.

    A new key is durable before its record is, and its record before it signs. A rotation that was cut off is
    finished when its record was written, and undone when not. A key is made only where none ever was: with
    keys.jsonl or signed checkpoints there, a missing or foreign key is an error.
    """

    def __init__(
        self, folder: Path, device: str, clock: Clock, credential: Path | None, keys: Path, ring: Keyring
    ) -> None:
        self._folder = folder
        self._device = device
        self._clock = clock
        self._credential = credential
        self._keys = keys
        self._ring = ring
        self._key: SigningKey | None = None

    @classmethod
    def open(cls, folder: Path, device: str, clock: Clock, credential: Path | None = None) -> Self:
        """
        Args:
            folder: STATE_DIR/log; private keys lie in STATE_DIR/keys.
            credential: a file with the key, in place of the one that is made here (`credential_file`).

        Raises EvidenceError: no key, a key that does not fit, records that do not hold, a disk that fails.
        """
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            keys = folder.parent / "keys"
            keys.mkdir(mode=0o700, exist_ok=True)
            store = cls(folder, device, clock, credential, keys, _read_ring(folder / KEYS_FILE))
            if store._ring.records:
                store._find_key()
            else:
                store._begin()
            sync_directory(keys)
            sync_directory(folder)
        except OSError as error:
            raise _failed(folder, error) from error
        return store

    @property
    def signing_key(self) -> SigningKey:
        if self._key is None:
            raise EvidenceError("The signing key is not known.", hint=_KEEP)
        return self._key

    @property
    def verifier(self) -> VerifierKey:
        return self.signing_key.verifier

    def records(self) -> list[str]:
        """The lines of keys.jsonl."""
        return [record.line().decode() for record in self._ring.records]

    def rotate(self, sizes: Mapping[str, int]) -> KeyRecord:
        """Makes a new key; from the return on nothing may be signed with the old one.

        A credential that has not signed yet becomes the new key; without one, a key is generated here.

        Args:
            sizes: of each log with checkpoints under the present key, the last size (`heads.sizes_under`).

        Raises EvidenceError where the disk fails; the key that then holds goes on, or none where the disk
        does not even tell which.
        """
        old = self.signing_key
        new = self._fresh_credential() or SigningKey.generate(key_name_of(self._device))
        record = KeyRecord.make(self._device, new, old, dict(sizes), timestamp(self._clock.wall_ns()))
        # Until it is known which of the two holds, neither signs.
        self._key = None
        try:
            replace_file(self._next, encode_private(new).encode(), 0o600)
            self._write_records([*self._ring.records, record])
            self._ring.add(record)
            self._promote()
        except OSError as error:
            self._learn()
            raise _failed(self._folder, error) from error
        self._key = new
        return record

    def _learn(self) -> None:
        """After a rotation that failed: goes on with the key that the records name, once they are safe."""
        with suppress(OSError, EvidenceError):
            self._ring = _read_ring(self._folder / KEYS_FILE)
            sync_directory(self._folder)
            self._find_key()

    def announce(self, log: EventSink) -> None:
        """Appends an event for each record that has none yet: to be called at start and after `rotate`.

        Raises LogError, and EvidenceError where the disk fails.
        """
        told = self._keys / "announced"
        try:
            last = told.read_text() if told.exists() else ""
            digests = [hashlib.sha256(record.line()).hexdigest() for record in self._ring.records]
            first = digests.index(last) + 1 if last in digests else 0
            for record, digest in zip(self._ring.records[first:], digests[first:], strict=True):
                log.append(_event_of(record, digest))
                replace_file(told, digest.encode(), 0o600)
        except OSError as error:
            raise _failed(self._folder, error) from error

    @property
    def _file(self) -> Path:
        return self._keys / "signing.key"

    @property
    def _next(self) -> Path:
        return self._keys / "signing.key.next"

    def _begin(self) -> None:
        """The first start, or one that was cut off before its record was there."""
        if any(path.stat().st_size for path in self._folder.glob("*/checkpoints.jsonl")):
            raise EvidenceError(
                f"{self._folder / KEYS_FILE} is gone, and logs beside it are signed.", hint=_KEEP
            )
        key = _read_key(self._credential) or _read_key(self._file)
        if key is None:
            key = SigningKey.generate(key_name_of(self._device))
            replace_file(self._file, encode_private(key).encode(), 0o600)
        if key.name != key_name_of(self._device):
            raise EvidenceError(f"The signing key is of {key.name}, this box is {self._device}.", hint=_KEEP)
        self._write_records([KeyRecord.make(self._device, key, None, {}, timestamp(self._clock.wall_ns()))])
        self._ring = _read_ring(self._folder / KEYS_FILE)
        self._key = key

    def _find_key(self) -> None:
        if self._ring.device != self._device:
            raise EvidenceError(
                f"The logs in {self._folder} are of box {self._ring.device!r}, this box is {self._device!r}.",
                hint="Give box.name its old value, or move the folder aside as evidence.",
            )
        wanted = self._ring.current
        for path in (self._credential, self._file, self._next):
            key = _read_key(path)
            if key is not None and key.verifier == wanted:
                self._key = key
                if path == self._next:
                    self._promote()
                else:
                    self._next.unlink(missing_ok=True)
                return
        raise EvidenceError(
            f"The signing key {wanted.id.hex()} of {wanted.name}, which keys.jsonl names, is not in "
            f"{self._keys}{' or the credential' if self._credential else ''}.",
            hint=_KEEP,
        )

    def _fresh_credential(self) -> SigningKey | None:
        key = _read_key(self._credential)
        if key is None or any(record.new == key.verifier for record in self._ring.records):
            return None
        if key.name != key_name_of(self._device):
            raise EvidenceError(f"The credential is a key of {key.name}, this box is {self._device}.")
        return key

    def _promote(self) -> None:
        self._next.replace(self._file)
        sync_directory(self._keys)

    def _write_records(self, records: list[KeyRecord]) -> None:
        data = b"".join(record.line() + b"\n" for record in records)
        replace_file(self._folder / KEYS_FILE, data, 0o640)


def _event_of(record: KeyRecord, digest: str) -> Event:
    if record.old is None:
        return Event(Kind.KEY_CREATED, {"new": str(record.new), "record_sha256": digest})
    return Event(Kind.KEY_ROTATED, {"new": str(record.new), "old": str(record.old), "record_sha256": digest})


def _read_ring(path: Path) -> Keyring:
    if not path.exists():
        return Keyring()
    lines, tail = split_lines(path.read_bytes())
    try:
        # What stands behind the last newline is no record either.
        return Keyring.of([*lines, tail + b"\n"] if tail or not lines else lines)
    except (NotCanonicalError, RecordError) as error:
        raise EvidenceError(f"{path} does not hold: {error}.", hint=_KEEP) from error


def _read_key(path: Path | None) -> SigningKey | None:
    if path is None or not path.exists():
        return None
    status = path.stat()
    if path.name.startswith("signing.key") and stat.S_IMODE(status.st_mode) & 0o077:
        raise EvidenceError(f"{path} can be read by others.", hint=f"chmod 600 {path}, then rotate the key.")
    return decode_private(path.read_text(encoding="ascii", errors="replace")[: 1 << 12])


def _failed(folder: Path, error: OSError) -> EvidenceError:
    return EvidenceError(
        f"The keys of {folder} cannot be kept: {os.strerror(error.errno or 0)}.",
        hint="Check the disk, and that the folder belongs to the service.",
    )
