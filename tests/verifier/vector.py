"""One test vector, before it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verifier.evidence_made import Box


@dataclass
class Vector:
    about: str
    box: Box
    findings: list[list[Any]] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    call: dict[str, Any] = field(default_factory=dict)
    anchor: bytes | None = None
    exit: int | None = None
    on_disk: list[Callable[[Path], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.exit is None:
            self.exit = 10 if self.findings else 0
