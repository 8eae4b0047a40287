"""What the desk asks of a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from veil.audit.event import Event
from veil.messages.command import CommandBody, Result


@dataclass(frozen=True, slots=True)
class Done:
    """What a command gave.

    Attributes:
        events: evidence of it. The desk adds who asked (`key`, `nonce`) and appends them before the result
            leaves.
    """

    result: Result
    events: tuple[Event, ...] = ()


class Actions(Protocol):
    """Carries commands out."""

    def run(self, body: CommandBody) -> Done:
        """Does what a verified command asks. Raises VeilError or OSError where it cannot be done."""
        ...
