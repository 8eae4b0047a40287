"""What `veil log` asks of the running agent: files in STATE_DIR/requests, one each, gone when done."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from veil.audit import writer_lock
from veil.audit.durable import PART, replace_file
from veil.audit.event import Event, Kind, Value, canonical_data, said
from veil.audit.heads import sizes_under
from veil.audit.keys import KeyStore
from veil.audit.log import EVENTS_FILE, EventLog, EventSink
from veil.domain.clock import Clock
from veil.errors import EvidenceError, LogError

ROTATE_KEY = "rotate_key"
_MAX_BYTES = 8192
_MAX_AT_ONCE = 16
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: `rotate_key`, or `recording_accessed` with the event's data."""

    kind: str
    data: Mapping[str, Value]


def answer_requests(state: Path, keys: KeyStore, log: EventSink) -> list[Request]:
    """For the agent, about once a second: does what is asked and says so in the box's log.

    Returns what was done; after a `rotate_key` nothing may be signed with the old key, and the keys are to be
    sent again. A request that cannot be read is removed, with an event. Raises LogError, EvidenceError.
    """
    done = []
    for path in _waiting(state):
        request = _read(path)
        if request is None:
            log.append(Event(Kind.COMMAND_REFUSED, {"command": "request", "reason": "not a request"}))
        elif request.kind == ROTATE_KEY:
            rotate_key(state, keys, log)
            done.append(request)
        else:
            log.append(Event(Kind.RECORDING_ACCESSED, request.data))
            done.append(request)
        path.unlink(missing_ok=True)
    return done


def rotate_key(state: Path, keys: KeyStore, log: EventSink) -> None:
    """A new signing key, and its event. Raises LogError, EvidenceError."""
    keys.rotate(sizes_under(state / "log", keys.verifier))
    keys.announce(log)


def ask(state: Path, request: Request, device: str, clock: Clock, patience_s: float) -> None:
    """Has it done: by the running agent, or here where none runs.

    Raises LogError, EvidenceError: nobody answers within `patience_s`, and nothing was done.
    """
    box = state / "log" / "box" / EVENTS_FILE
    if not _is_written(box):
        with EventLog(box, "box", clock) as log:
            if request.kind == ROTATE_KEY:
                rotate_key(state, KeyStore.open(state / "log", device, clock), log)
            else:
                log.append(Event(Kind.RECORDING_ACCESSED, request.data))
        return
    path = _drop(state, request)
    until = time.monotonic() + patience_s
    while path.exists():
        if time.monotonic() >= until:
            with suppress(FileNotFoundError):
                path.unlink()
                raise EvidenceError(
                    f"The agent does not answer; {request.kind} was not done.",
                    hint="Look at journalctl -u veil-agent, or stop the agent and try again.",
                )
        time.sleep(_POLL_S)


def _is_written(events: Path) -> bool:
    try:
        descriptor = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LogError(
            f"{events} cannot be opened: {error.strerror}.", hint="Run it as the box's user."
        ) from error
    try:
        return writer_lock.is_taken(descriptor)
    finally:
        os.close(descriptor)


def _drop(state: Path, request: Request) -> Path:
    folder = state / "requests"
    path = folder / f"{secrets.token_hex(8)}.json"
    text = json.dumps({"kind": request.kind, "data": request.data}).encode()
    try:
        folder.mkdir(mode=0o770, exist_ok=True)
        replace_file(path, text, 0o660)
    except OSError as error:
        raise LogError(
            f"{folder} cannot be written: {error.strerror}.", hint="Run it as the box's user."
        ) from error
    return path


def _waiting(state: Path) -> Iterator[Path]:
    folder = state / "requests"
    try:
        names = sorted(path for path in folder.iterdir() if not path.name.endswith(PART))
    except OSError:
        return
    yield from names[:_MAX_AT_ONCE]


def _read(path: Path) -> Request | None:
    try:
        with path.open("rb") as file:
            asked = json.loads(file.read(_MAX_BYTES + 1)[: _MAX_BYTES + 1])
        kind, data = asked["kind"], asked["data"]
        if set(asked) != {"kind", "data"} or kind not in {ROTATE_KEY, str(Kind.RECORDING_ACCESSED)}:
            return None
        clean = {
            said(str(key)): said(value) if isinstance(value, str) else int(value)
            for key, value in data.items()
        }
        canonical_data(Event(Kind.RECORDING_ACCESSED, clean))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Request(kind, clean)
