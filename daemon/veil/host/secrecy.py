"""Keeps pixels as captured out of core dumps."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def forbid_memory_dumps() -> None:
    """From now on the kernel writes no core of this process, and no other process of its user may read it.

    Both are needed: a limit of 0 does not hold where cores are piped to a program (core(5)), and whether a
    process is dumpable says nothing to a program that reads the limit.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
