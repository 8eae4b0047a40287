"""What a verifier says: findings, warnings and counts (docs/log-format.md, Findings)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        log: empty for keys.jsonl and the folder.
        line: from 1; 0 where it has none.
        sequence: None where it is not known.
    """

    code: str
    log: str
    line: int
    sequence: int | None
    text: str

    def __str__(self) -> str:
        where = self.log or "folder"
        if self.line:
            where += f", line {self.line}"
        if self.sequence is not None:
            where += f", seq {self.sequence}"
        return f"{where}: {self.code}: {self.text}"


class Found(Exception):  # noqa: N818  not an error of the program
    """Ends the reading of a file or note; becomes a Finding where the place is known."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def fail(code: str, text: str) -> NoReturn:
    """Raises Found."""
    raise Found(code, text)


@dataclass(slots=True)
class LogCounts:
    """Of one log: lines, the size of its last good checkpoint, and of the cosigned one.

    Attributes:
        witnessed: its checkpoints are a witness's copy, those that it cosigned.
    """

    events: int = 0
    signed: int = 0
    cosigned: int = 0
    witnessed: bool = False


@dataclass(slots=True)
class Report:
    """Of a folder."""

    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    logs: dict[str, LogCounts] = field(default_factory=dict)
    key_pinned: bool = False

    @property
    def ok(self) -> bool:
        return not self.findings

    def add(self, found: Found, log: str = "", line: int = 0, sequence: int | None = None) -> None:
        self.findings.append(Finding(found.code, log, line, sequence, found.text))

    def warn(self, code: str, log: str, line: int, text: str) -> None:
        self.warnings.append(Finding(code, log, line, None, text))
