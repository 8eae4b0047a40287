"""Small files that are whole or not there, whenever the power goes."""

from __future__ import annotations

import os
from pathlib import Path

from veil.host.disk import sync_directory

PART = ".part"


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Gives `path` this content, durably when it returns; before that the old one stands. Raises OSError."""
    part = path.with_name(path.name + PART)
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)
    sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Writes at the descriptor's position. Raises OSError; a part may then be written."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def split_lines(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole lines without their newlines, and what stands behind the last newline."""
    *lines, tail = data.split(b"\n")
    return lines, tail
