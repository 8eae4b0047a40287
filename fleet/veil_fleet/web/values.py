"""What a page shows and keeps up to date: the same values for the template and for the stream of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """One place on a page.

    Attributes:
        text: as shown.
        state: for the style sheet: `ok`, `warn`, `bad`, `off`, or a `Standing`.
        at_ms: POSIX milliseconds; where it is set the page shows how long ago that was.
    """

    text: str
    state: str = ""
    at_ms: int | None = None

    def json(self) -> dict[str, str | int]:
        """As the page's script reads it."""
        made: dict[str, str | int] = {"t": self.text, "s": self.state}
        if self.at_ms is not None:
            made["a"] = self.at_ms
        return made


Values = Mapping[str, Value]
NOTHING = Value("–", "off")


def changes(before: Values, after: Values) -> dict[str, dict[str, str | int]]:
    """What is new in `after`, for the script. Places that are no longer there stay as they were."""
    return {key: value.json() for key, value in after.items() if before.get(key) != value}
