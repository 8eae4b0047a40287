"""Who writes a log: a lock of the open file (not of the process, which loses its locks with any close)."""

from __future__ import annotations

import fcntl
import os
import struct

# struct flock of 64-bit Linux: type, whence, start, length (0: all), pid.
_FLOCK = struct.Struct("@hhqqi0q")


def take(descriptor: int) -> None:
    """Until the descriptor is closed. Raises OSError where somebody else has it."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def is_taken(descriptor: int) -> bool:
    """Whether another open file has it; the descriptor may be read-only."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
