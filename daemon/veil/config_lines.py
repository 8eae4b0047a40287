"""Where a key stands in a TOML text: the standard parser does not say."""

from __future__ import annotations

import re

Loc = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")


def _parts(dotted: str) -> Loc:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


class KeyLines:
    """Lines (from 1) of headers and keys of a text that the TOML parser has accepted.

    Keys inside inline tables and multi-line arrays have the line of the key that holds them.
    """

    def __init__(self, text: str) -> None:
        self._lines: dict[Loc, int] = {}
        section: Loc = ()
        counts: dict[Loc, int] = {}
        quote = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if quote:
                quote = "" if quote in line else quote
                continue
            header = _HEADER.match(line)
            if header:
                section = _parts(header[2])
                if header[1] == "[[":
                    index = counts.get(section, -1) + 1
                    counts[section] = index
                    section = (*section, index)
                else:
                    section = self._in_array(section, counts)
                self._add(section, number)
                continue
            key = _KEY.match(line)
            if key:
                self._add((*section, *_parts(key[1])), number)
                rest = line[key.end() :]
                quote = next((sign for sign in ('"""', "'''") if rest.count(sign) == 1), "")

    @staticmethod
    def _in_array(section: Loc, counts: dict[Loc, int]) -> Loc:
        """`[mask.zones.policy]` after `[[mask.zones]]` belongs to the last zone."""
        for length in range(len(section) - 1, 0, -1):
            if section[:length] in counts:
                return (*section[:length], counts[section[:length]], *section[length:])
        return section

    def _add(self, loc: Loc, number: int) -> None:
        for length in range(1, len(loc) + 1):
            self._lines.setdefault(loc[:length], number)

    def find(self, loc: Loc) -> int | None:
        """The line of `loc`, or of the nearest thing around it; None when nothing of it is in the text."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self._lines:
                return self._lines[loc[:length]]
        return None
