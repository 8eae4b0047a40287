"""What a file is called until it is whole."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

# Names have at most 255 bytes; the process's number and the dots take the rest.
_LONGEST: Final = 230
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")


def part_beside(path: Path) -> Path:
    """Hidden, beside `path`, with the process in its name: two that write the same output do not write into
    one another's. Of a name that is too long for that, the end is left out."""
    return path.with_name(f"{_begin(path)}{os.getpid()}.part")


def _begin(path: Path) -> str:
    return f".{os.fsdecode(os.fsencode(path.name)[:_LONGEST])}."


def remove_left_parts(path: Path) -> None:
    """What processes that were killed have left beside `path`, where that may be seen and removed. Those of
    processes that live stay: they may still be written."""
    begin = _begin(path)
    with suppress(OSError):
        for part in path.parent.iterdir():
            number = part.name.removeprefix(begin).removesuffix(".part")
            if part.name == f"{begin}{number}.part" and _NUMBER.fullmatch(number) and not _lives(int(number)):
                remove_part(part)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove_part(part: Path) -> None:
    """Where it is and may be removed: on a disk that became read-only it was never made, or has to stay."""
    with suppress(OSError):
        part.unlink(missing_ok=True)


def sync(part: Path) -> None:
    """Waits until it is on disk. Raises OSError."""
    descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
