"""Opening the files of a folder that nobody vouches for: regular files only, every failure a finding."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from veil.audit.canonical import NotCanonicalError, parse_line
from veil.audit.findings import Found, fail
from veil.audit.lines import Lines, LineTooLongError, piece

MAX_SMALL_BYTES = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Raises Found: missing, not a file, not readable; also for what fails while it is open."""
    try:
        # A pipe in the place of a file must not hold the verifier up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                fail("unreadable", f"{path.name} is no file")
            yield piece(descriptor, 0)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise Found("unreadable", f"{path.name} is missing") from None
    except OSError as error:
        raise Found("unreadable", f"{path.name} cannot be read: {error.strerror}") from None


def read_small(path: Path) -> bytes | None:
    """The whole of a small file; None where there is none. Raises Found."""
    if not os.path.lexists(path):
        return None
    with opened(path) as file:
        data = file.read(MAX_SMALL_BYTES + 1)
    if len(data) > MAX_SMALL_BYTES:
        raise Found("unreadable", f"{path.name} is over {MAX_SMALL_BYTES} bytes")
    return data


def events_with(path: Path, mark: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Of lines that hold `mark`. Sequence numbers by place; what is no event is left to the verifier."""
    try:
        with opened(path) as file:
            for number, line in enumerate(Lines(file)):
                if mark not in line:
                    continue
                try:
                    yield number, parse_line(line)
                except NotCanonicalError:
                    continue
    except (Found, LineTooLongError):
        return
