"""Forms of values that stand in lines and notes (docs/log-format.md)."""

from __future__ import annotations

import re
from calendar import monthrange

LOG_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_TIME = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}\.[0-9]{6}Z"
)

_match = _TIME.fullmatch


def is_time(text: str) -> bool:
    """Whether it is `YYYY-MM-DDTHH:MM:SS.ffffffZ`, of a day that the calendar has."""
    found = _match(text)
    if found is None:
        return False
    year, month, day = map(int, found.groups())
    return year > 0 and (day <= 28 or day <= monthrange(year, month)[1])
