"""Whether a payload is a command that this box may carry out now. Pure: no state, no files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from veil.audit.event import timestamp
from veil.audit.note import ED25519, VerifierKey, decode_base64
from veil.domain.clock import NANOSECONDS
from veil.errors import KeyFormatError, MessageError
from veil.messages.command import (
    MAX_CLOCK_SKEW_S,
    MAX_LIFETIME_S,
    SIGNATURE_PREFIX,
    Arguments,
    Command,
    CommandBody,
    SignedCommand,
)

_SIGNATURE_BYTES = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reason(StrEnum):
    """Why a command is refused, as the event and the response say it."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    UNSIGNED = "unsigned"
    UNKNOWN = "unknown"
    WRONG_DEVICE = "wrong_device"
    UNTRUSTED = "untrusted"
    BAD_SIGNATURE = "bad_signature"
    LIFETIME = "lifetime"
    """It would hold for longer than a command may, or for no time at all."""
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    BUSY = "busy"
    """More commands than a box takes within their lifetime."""
    UNAVAILABLE = "unavailable"
    """The box cannot make durable that it took the command, so it does not take it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that is not carried out.

    Attributes:
        text: for people; holds nothing of the payload.
        nonce: 32 hex digits, empty where it could not be read.
        key_id: 8 hex digits, empty where it could not be read. Not verified.
    """

    reason: Reason
    text: str
    nonce: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """A command whose signature and time are good. Whether it was taken before is still to be asked."""

    body: CommandBody
    key: VerifierKey
    issued_ns: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class _Read:
    signed: SignedCommand
    body: CommandBody
    key: VerifierKey
    signature: bytes
    issued_ns: int
    expires_ns: int


def verify(
    payload: bytes, device: str, trusted: Mapping[bytes, VerifierKey], wall_ns: int
) -> Order | Refusal:
    """In this order: size, shape, device, trusted key, signature, lifetime.

    Args:
        trusted: keys by their id.
        wall_ns: the box's clock.
    """
    read = _read(payload)
    if isinstance(read, Refusal):
        return read
    body, key = read.body, read.key

    def refuse(reason: Reason, text: str) -> Refusal:
        return Refusal(reason, text, body.nonce, key.id.hex())

    if body.device != device:
        return refuse(Reason.WRONG_DEVICE, "The command is for another box.")
    if trusted.get(key.id) != key or key.algorithm != ED25519:
        return refuse(Reason.UNTRUSTED, "The box does not trust the key: it is not in fleet.command_keys.")
    if not key.verify(read.signature, SIGNATURE_PREFIX + read.signed.body.encode()):
        return refuse(Reason.BAD_SIGNATURE, "The signature does not fit the command.")
    if not 0 < read.expires_ns - read.issued_ns <= MAX_LIFETIME_S * NANOSECONDS:
        return refuse(Reason.LIFETIME, f"A command holds for up to {MAX_LIFETIME_S} s.")
    if read.issued_ns > wall_ns + MAX_CLOCK_SKEW_S * NANOSECONDS:
        return refuse(Reason.NOT_YET_VALID, f"The command is from the future; {_says(wall_ns)}")
    if read.expires_ns <= wall_ns:
        return refuse(Reason.EXPIRED, f"The command has expired; {_says(wall_ns)}")
    return Order(body, key, read.issued_ns, read.expires_ns)


def _says(wall_ns: int) -> str:
    return f"the box's clock says {timestamp(wall_ns)}."


def _read(payload: bytes) -> _Read | Refusal:
    """What can be said before any key is asked."""
    if len(payload) > SignedCommand.MAX_BYTES:
        return Refusal(Reason.OVERSIZED, f"A command has at most {SignedCommand.MAX_BYTES} bytes.")
    try:
        signed = SignedCommand.decode(payload)
    except MessageError as error:
        if _lacks_signature(payload):
            return Refusal(Reason.UNSIGNED, "The command is not signed.")
        return Refusal(Reason.MALFORMED, error.message)
    if not signed.signature or not signed.key:
        return Refusal(Reason.UNSIGNED, "The command is not signed.")
    try:
        raw = signed.body.encode()
        body = CommandBody.decode(raw)
        issued_ns, expires_ns = _parse_time(body.issued), _parse_time(body.expires)
        _check_arguments(body.command, body.arguments)
    except MessageError as error:
        if _has_unknown_command(signed.body):
            return Refusal(Reason.UNKNOWN, f"There is no such command; there are {', '.join(Command)}.")
        return Refusal(Reason.MALFORMED, error.message)
    except ValueError as error:
        return Refusal(Reason.MALFORMED, f"Not a CommandBody: {type(error).__name__}.")
    try:
        key = VerifierKey.parse(signed.key)
        signature = decode_base64(signed.signature)
    except KeyFormatError:
        return Refusal(Reason.MALFORMED, "The key is not written as keys are: NAME+ID+BASE64.", body.nonce)
    except ValueError:
        return Refusal(Reason.MALFORMED, "The signature is not base64.", body.nonce)
    if len(signature) != _SIGNATURE_BYTES:
        return Refusal(
            Reason.MALFORMED, f"A signature has {_SIGNATURE_BYTES} bytes.", body.nonce, key.id.hex()
        )
    return _Read(signed, body, key, signature, issued_ns, expires_ns)


def _parse_time(text: str) -> int:
    """Nanoseconds since 1970, exactly. Raises ValueError for a day that is none."""
    since = datetime.fromisoformat(text) - _EPOCH
    return (since.days * 86_400 + since.seconds) * NANOSECONDS + since.microseconds * 1000


def _check_arguments(command: Command, arguments: Arguments) -> None:
    """Raises MessageError where the command lacks what it needs."""
    needed: tuple[str, ...] = ()
    match command:
        case Command.PING | Command.RELOAD:
            pass
        case Command.RESTART_CAMERA | Command.SNAPSHOT:
            needed = ("camera",)
        case Command.MANIFEST:
            needed = ("camera", "start", "end")
    missing = [name for name in needed if getattr(arguments, name) is None]
    if missing:
        raise MessageError(f"The command {command} needs {', '.join(missing)}.")
    for text in (arguments.start, arguments.end):
        if text is not None:
            _parse_time(text)


def _lacks_signature(payload: bytes) -> bool:
    """Whether it is an object that would be a command, had it a signature."""
    document = _object(payload)
    return (
        document is not None and "signature" not in document and ("body" in document or "command" in document)
    )


def _has_unknown_command(text: str) -> bool:
    document = _object(text.encode(errors="replace"))
    if document is None:
        return False
    command = document.get("command")
    return isinstance(command, str) and command not in set(Command)


def _object(payload: bytes) -> dict[str, object] | None:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
