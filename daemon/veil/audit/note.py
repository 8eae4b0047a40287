"""Signed notes and keys as C2SP has them: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from veil.errors import KeyFormatError, NoteError

ED25519: Final = 0x01
COSIGNATURE_V1: Final = 0x04
_ALGORITHMS = {ED25519, COSIGNATURE_V1}
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,128}")
_SIGNATURE_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
MAX_NOTE_BYTES = 8192


def key_id(name: str, algorithm: int, public: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name || 0x0A || algorithm || public key)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:4]


def decode_base64(text: str) -> bytes:
    """Strict: padded, without stray bits. Raises ValueError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")
    return raw


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with its name.

    Attributes:
        name: no whitespace, no `+`.
        algorithm: `ED25519` for logs and commands, `COSIGNATURE_V1` for witnesses.
        public: 32 bytes, Ed25519.
    """

    name: str
    algorithm: int
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise KeyFormatError(f"{self.name!r} is no name of a key: no spaces and no plus signs.")
        if self.algorithm not in _ALGORITHMS or len(self.public) != 32:
            raise KeyFormatError("Keys are Ed25519, of 32 bytes.")

    @property
    def id(self) -> bytes:
        return key_id(self.name, self.algorithm, self.public)

    def __str__(self) -> str:
        """The form that people copy: NAME+ID+BASE64."""
        encoded = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises KeyFormatError."""
        parts = text.strip().split("+", 2)
        try:
            name, identity, encoded = parts
            raw = decode_base64(encoded)
            key = cls(name, raw[0], raw[1:])
        except (ValueError, IndexError) as error:
            raise KeyFormatError(
                f"{text.strip()[:80]!r} is no verifier key.", hint="It has the form NAME+ID+BASE64."
            ) from error
        if key.id.hex() != identity:
            raise KeyFormatError(f"The verifier key of {name!r} is damaged: its id does not fit.")
        return key

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the 64 bytes are this key's Ed25519 signature over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name. Its repr shows no secret."""

    name: str
    algorithm: int
    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls, name: str, algorithm: int = ED25519) -> Self:
        return cls(name, algorithm, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, name: str, seed: bytes, algorithm: int = ED25519) -> Self:
        """From 32 secret bytes. Raises KeyFormatError."""
        if len(seed) != 32:
            raise KeyFormatError(f"A key's seed has 32 bytes, not {len(seed)}.")
        return cls(name, algorithm, Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def seed(self) -> bytes:
        """The secret: 32 bytes."""
        return self._private.private_bytes_raw()

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.algorithm, self._private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note: whose, and what stands behind the key's id.

    Attributes:
        payload: 64 bytes of Ed25519, or a cosignature's 8 bytes of time and 64 bytes.
    """

    name: str
    key_id: bytes
    payload: bytes

    def line(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.payload).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a newline, and its signatures."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)

    def with_signature(self, signature: Signature) -> Note:
        return Note(self.text, (*self.signatures, signature))

    @classmethod
    def parse(cls, encoded: str) -> Note:
        """Raises NoteError for whatever is not exactly a signed note."""
        if len(encoded.encode(errors="replace")) > MAX_NOTE_BYTES:
            raise NoteError(f"A signed note has at most {MAX_NOTE_BYTES} bytes.")
        text, separator, tail = encoded.rpartition("\n\n")
        if not separator or not text or not tail.endswith("\n"):
            raise NoteError("A signed note is a text, an empty line and signature lines.")
        if _CONTROL.search(encoded):
            raise NoteError("A signed note holds no control characters.")
        signatures = []
        for line in tail[:-1].split("\n"):
            match = _SIGNATURE_LINE.fullmatch(line)
            try:
                raw = decode_base64(match.group(2)) if match else b""
            except ValueError:
                raw = b""
            if match is None or len(raw) < 5:
                raise NoteError(f"Not a signature line: {line[:80]!r}.")
            signatures.append(Signature(match.group(1), raw[:4], raw[4:]))
        return cls(text + "\n", tuple(signatures))

    def signature_of(self, key: VerifierKey) -> Signature | None:
        """The first signature with this key's name and id, unverified; None without one."""
        for signature in self.signatures:
            if signature.name == key.name and signature.key_id == key.id:
                return signature
        return None

    def verify(self, key: VerifierKey) -> None:
        """Raises NoteError unless `key` (of a log) has signed the text."""
        signature = self.signature_of(key)
        if signature is None:
            raise NoteError(f"The note is not signed by {key.name} ({key.id.hex()}).")
        if key.algorithm != ED25519 or not key.verify(signature.payload, self.text.encode()):
            raise NoteError(f"The signature of {key.name} ({key.id.hex()}) does not fit the note.")

    def verify_cosignature(self, key: VerifierKey) -> int:
        """The time (POSIX seconds) at which witness `key` cosigned. Raises NoteError."""
        signature = self.signature_of(key)
        if signature is None:
            raise NoteError(f"The note is not cosigned by {key.name} ({key.id.hex()}).")
        payload = signature.payload
        if key.algorithm != COSIGNATURE_V1 or len(payload) != 72:
            raise NoteError(f"The cosignature of {key.name} is malformed.")
        time_s = int.from_bytes(payload[:8], "big")
        if not key.verify(payload[8:], _cosigned_message(self.text, time_s)):
            raise NoteError(f"The cosignature of {key.name} ({key.id.hex()}) does not fit the note.")
        return time_s


def sign_note(text: str, key: SigningKey) -> Note:
    """`text`, which must end with a newline, signed by a log's key."""
    if not text.endswith("\n"):
        raise ValueError("the text of a note ends with a newline")
    return Note(text, (Signature(key.name, key.verifier.id, key.sign(text.encode())),))


def cosign_note(note: Note, key: SigningKey, time_s: int) -> Note:
    """`note` with a witness's cosignature of `time_s` (POSIX seconds)."""
    payload = time_s.to_bytes(8, "big") + key.sign(_cosigned_message(note.text, time_s))
    return note.with_signature(Signature(key.name, key.verifier.id, payload))


def _cosigned_message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
