"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from veil.errors import VeilError


class Level(StrEnum):
    """`WARN` works and should be changed; `FAIL` does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it ("" when nothing). Never holds credentials."""

    name: str
    level: Level
    what: str
    todo: str = ""


def ok(name: str, what: str) -> Finding:
    return Finding(name, Level.OK, what)


def warn(name: str, what: str, todo: str = "") -> Finding:
    return Finding(name, Level.WARN, what, todo)


def fail(name: str, what: str, todo: str) -> Finding:
    return Finding(name, Level.FAIL, what, todo)


def failed(name: str, error: VeilError) -> Finding:
    """From an error, whose hint says what to do."""
    return fail(name, error.message, error.hint)
