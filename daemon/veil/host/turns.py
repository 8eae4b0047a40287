"""Whose turn it is: how long a thread may keep Python's lock, and which threads come first."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Final

_TURN_S = 0.0005
_STEP: Final = 5


def take_short_turns() -> None:
    """A tenth of Python's default: decoder, detector and encoder come back to Python for microseconds each.

    With the default of 5 ms a finished inference waits a quarter of a frame for the thread that tracks.
    """
    sys.setswitchinterval(_TURN_S)


def step_back() -> None:
    """The calling thread, and those that it starts, get a third of the turns that others get.

    For the stages of a file that come before the slowest one, the encoder: with equal turns they run ahead on
    two cores until the queues are full, and then one core has nothing to do.
    """
    thread = threading.get_native_id()
    # Only ever backwards, which needs no right; what forbids even that costs speed alone.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + _STEP))
