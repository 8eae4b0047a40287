"""Ends this process when the one that started it ends. Standard library only: the RTSP server uses it too."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping

_PR_SET_PDEATHSIG = 1


def die_with_parent(environ: Mapping[str, str] = os.environ) -> None:
    """Where `VEIL_DIES_WITH` holds the parent's process id (set by `veil up`), SIGTERM follows its death."""
    parent = environ.get("VEIL_DIES_WITH", "")
    if not parent.isdigit():
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
