"""How long one thread may keep Python's lock while others wait for it."""

from __future__ import annotations

import sys

_TURN_S = 0.0005


def take_short_turns() -> None:
    """A tenth of Python's default: decoder, detector and encoder come back to Python for microseconds each.

    With the default of 5 ms a finished inference waits a quarter of a frame for the thread that tracks.
    """
    sys.setswitchinterval(_TURN_S)
