"""One box has one agent."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from veil.errors import VeilError


@contextmanager
def only_agent(folder: Path) -> Iterator[None]:
    """Holds the lock in `folder`, made when missing. Raises VeilError where another agent has it."""
    path = folder / "lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise VeilError(
            f"{path} cannot be opened: {error.strerror}.", hint="Check the owner of box.state_dir."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise VeilError(
                f"Another agent runs for {folder.parent}.", hint="One box has one agent: stop the other one."
            ) from None
        yield
    finally:
        os.close(descriptor)
