"""What a file is called until it is whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# Names have at most 255 bytes; the process's number and the dots take the rest.
_LONGEST: Final = 230


def part_beside(path: Path) -> Path:
    """Hidden, beside `path`, with the process in its name: two that write the same output do not write into
    one another's. Of a name that is too long for that, the end is left out."""
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST])
    return path.with_name(f".{name}.{os.getpid()}.part")


def remove_part(part: Path) -> None:
    """Where it is and may be removed: on a disk that became read-only it was never made, or has to stay."""
    with suppress(OSError):
        part.unlink(missing_ok=True)
