"""Evidence of an alarm side by side: the two notes, the two lines, and where they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_TEXTS: Final = {
    "stored": "What was stored first",
    "cosigned": "What was cosigned",
    "received": "What came",
    "expected": "What was expected",
    "closed": "When it was closed",
    "deleted": "When it was deleted",
}
_MAX_LINES: Final = 400


@dataclass(frozen=True, slots=True)
class Side:
    """One text; `lines`: each with whether it is different on the other side."""

    title: str
    lines: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence. `facts`: short values by name."""

    facts: tuple[tuple[str, str], ...]
    sides: tuple[Side, ...]


def sides_of(piece: Mapping[str, Any]) -> Piece:
    """All of it, whatever it holds: known texts first, in their order."""
    texts = {
        key: value
        for key, value in piece.items()
        if isinstance(value, str) and (key in _TEXTS or len(value) > 80)
    }
    facts = tuple(
        (str(key), value if isinstance(value, str) else json.dumps(value))
        for key, value in piece.items()
        if key not in texts
    )
    order = sorted(texts, key=lambda key: list(_TEXTS).index(key) if key in _TEXTS else len(_TEXTS))
    lines = {key: _lines(texts[key]) for key in order}
    sides = []
    for key in order:
        others = [set(lines[other]) for other in order if other != key]
        marked = tuple(
            (line, bool(others) and all(line not in other for other in others)) for line in lines[key]
        )
        sides.append(Side(_TEXTS.get(key, key), marked))
    return Piece(facts, tuple(sides))


def _lines(text: str) -> list[str]:
    """A log line indented, a note as it stands."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text.splitlines()[:_MAX_LINES]
    if not isinstance(said, dict):
        return text.splitlines()[:_MAX_LINES]
    return json.dumps(said, indent=2, ensure_ascii=False).splitlines()[:_MAX_LINES]
