"""What the collector says to boxes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Outgoing:
    """To be published once the transaction is durable."""

    topic: str
    payload: bytes


@dataclass(slots=True)
class Outcome:
    """What a transaction asks for once it is durable.

    Attributes:
        unknown_keys: boxes whose keys are to be read from the broker.
        lines, cosigned: how many were taken, how many checkpoints were cosigned.
        more_waits: lines in the store that were left for the next transaction.
    """

    publish: list[Outgoing] = field(default_factory=list)
    unknown_keys: set[str] = field(default_factory=set)
    lines: int = 0
    cosigned: int = 0
    more_waits: bool = False

    def add(self, other: Outcome) -> None:
        self.publish += other.publish
        self.unknown_keys |= other.unknown_keys
        self.lines += other.lines
        self.cosigned += other.cosigned
        self.more_waits |= other.more_waits
