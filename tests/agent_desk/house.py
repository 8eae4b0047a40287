"""Commands as the fleet signs them, a desk to take them, and the log that tells of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from veil.agent.commands import Actions, CommandDesk, Done
from veil.audit.event import timestamp
from veil.audit.log import EventLog
from veil.audit.note import SigningKey
from veil.messages.command import SIGNATURE_PREFIX, CommandBody, Response, Result

DEVICE = "box-7"
KEY = SigningKey.from_seed("fleet/command", bytes(range(32)))
STRANGER = SigningKey.from_seed("fleet/command", bytes(32))
SECOND = 1_000_000_000
NOON = 1_795_262_400 * SECOND


@dataclass
class HandClock:
    """Both clocks, set by hand."""

    wall: int = NOON
    monotonic: int = 1_000 * SECOND

    def wall_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def run(self, seconds: float) -> None:
        """Time goes by."""
        self.wall += int(seconds * SECOND)
        self.monotonic += int(seconds * SECOND)

    def set_by(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += int(seconds * SECOND)


@dataclass
class Counting:
    """Actions that count."""

    ran: list[CommandBody] = field(default_factory=list)

    def run(self, body: CommandBody) -> Done:
        self.ran.append(body)
        return Done(Result(version="1"))


def body_text(**changes: Any) -> str:
    """The JSON of a good ping; what is None in `changes` is left out."""
    body: dict[str, Any] = {
        "v": 1,
        "device": DEVICE,
        "command": "ping",
        "arguments": {},
        "issued": timestamp(NOON),
        "expires": timestamp(NOON + 60 * SECOND),
        "nonce": "0" * 31 + "1",
    } | changes
    return json.dumps({key: value for key, value in body.items() if value is not None})


def signed(text: str, by: SigningKey = KEY, **changes: Any) -> bytes:
    """The payload that carries `text`; what is None in `changes` is left out."""
    signature = by.sign(SIGNATURE_PREFIX + text.encode())
    message: dict[str, Any] = {
        "v": 1,
        "body": text,
        "key": str(by.verifier),
        "signature": base64.b64encode(signature).decode(),
    } | changes
    return json.dumps({key: value for key, value in message.items() if value is not None}).encode()


def command(number: int = 1, *, issued_s: float = 0, life_s: float = 60, **changes: Any) -> bytes:
    """A good command with a nonce of its own, `issued_s` after noon."""
    issued = NOON + int(issued_s * SECOND)
    times = {"issued": timestamp(issued), "expires": timestamp(issued + int(life_s * SECOND))}
    return signed(body_text(**{"nonce": f"{number:032x}", **times, **changes}))


class Desk(AbstractContextManager["Desk"]):
    """A desk at `folder` with a real log and a real store; leave it and make another to restart."""

    def __init__(self, folder: Path, clock: HandClock | None = None, actions: Actions | None = None) -> None:
        self.folder = folder
        self.clock = clock or HandClock()
        self.actions = actions or Counting()
        self._scope = ExitStack()

    def __enter__(self) -> Self:
        path = self.folder / "log" / "box" / "events.jsonl"
        self.log = self._scope.enter_context(EventLog(path, "box", self.clock, reserve_bytes=0))
        self.desk = self._scope.enter_context(
            CommandDesk(
                DEVICE, [str(KEY.verifier)], self.folder / "commands", self.log, self.clock, self.actions
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.close()

    def handle(self, payload: bytes) -> Response:
        return self.desk.handle(payload)

    def events(self, kind: str) -> Sequence[dict[str, Any]]:
        return events(self.folder / "log" / "box" / "events.jsonl", kind)


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    """The `data` of a log's events of one kind."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [line["data"] for line in lines if line["kind"] == kind]
