"""Folders of pictures and videos as they lie about: what is in them, and what of it is left out and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from veil.errors import CaptureError

_NAMED = 8


@dataclass(frozen=True, slots=True)
class Closed:
    """A folder that could not be looked into."""

    path: Path
    reason: str

    @property
    def error(self) -> CaptureError:
        return CaptureError(
            f"{self.path} cannot be looked into: {self.reason}.", hint="Check its permissions."
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a folder and its subfolders, each sorted.

    Attributes:
        files: those of the suffixes looked for. Who opens them says what else may be wrong with them.
        others: files of other suffixes, or none; links to nothing, pipes, devices.
        links: to folders; they are not followed.
        unreadable: folders that could not be looked into.
    """

    files: tuple[Path, ...]
    others: tuple[Path, ...] = ()
    links: tuple[Path, ...] = ()
    unreadable: tuple[Closed, ...] = ()

    def left_out(self, folder: Path) -> list[str]:
        """A sentence for each kind of what is left out."""
        said = []
        if self.others:
            said.append(left_out(self.others, folder, "of no known kind, or no files"))
        if self.links:
            said.append(left_out(self.links, folder, "links to folders"))
        return said


def look_through(folder: Path, suffixes: Set[str], leave: Callable[[Path], bool] = lambda _: False) -> Found:
    """What is in `folder`.

    Args:
        suffixes: of the files to find, in lower case.
        leave: tells of a folder whether it is passed over, with all that is in it.
    """
    files: list[Path] = []
    others: list[Path] = []
    links: list[Path] = []
    unreadable: list[Closed] = []

    def failed(error: OSError) -> None:
        unreadable.append(Closed(Path(error.filename), str(error.strerror)))

    for parent, folders, names in os.walk(folder, onerror=failed):
        here = Path(parent)
        links += [here / name for name in folders if _is_link(here / name)]
        folders[:] = [name for name in folders if not leave(here / name)]
        for name in names:
            path = here / name
            known = path.suffix.lower() in suffixes and _may_be_file(path)
            (files if known else others).append(path)
    return Found(
        tuple(sorted(files)),
        tuple(sorted(others)),
        tuple(sorted(links)),
        tuple(sorted(unreadable, key=attrgetter("path"))),
    )


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:
        return False


def left_out(paths: Sequence[Path], folder: Path, why: str) -> str:
    """That `paths` in `folder` are left out; the first of them by name."""
    shown = ", ".join(str(path.relative_to(folder)) for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"left out of {folder}: {shown}{more} ({why})"
