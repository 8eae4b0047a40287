"""How system, C library and Python keep memory: a camera's process should give it back, and not search it."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# mallopt(3), malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
# madvise(2)
_MADV_DONTNEED: Final = 4

_RANGE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+) ")


def give_freed_memory_back() -> None:
    """Two arenas instead of eight a core, and a fixed threshold from which memory goes back when freed.

    Without it glibc raises the threshold once a large picture was freed, and keeps those of codecs that were
    opened and closed: 50 MiB a camera at 1080p (measured). Does nothing where the C library has no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 256 << 10)
        mallopt(_M_TRIM_THRESHOLD, 128 << 10)


def load_without_search() -> None:
    """No search for garbage until `set_aside_what_is_loaded`: nothing that is being loaded is any.

    With it and a last search a camera's start took a tenth of a second longer (measured).
    """
    gc.disable()


def set_aside_what_is_loaded() -> None:
    """To be called once, before frames come: modules and settings are never searched for garbage.

    They are some hundred thousand objects, and each search of them stops every thread for a frame or two.
    """
    gc.freeze()
    gc.enable()


@dataclass(slots=True)
class _Mapping:
    """A range of addresses, from /proc/self/smaps. `own_kib`: of pages that are not the file's any more."""

    start: int
    end: int
    access: str
    inode: int
    own_kib: int = 0

    @property
    def is_as_in_its_file(self) -> bool:
        """Whether every page can be had again from the file: never written, and cannot be."""
        return bool(self.inode) and self.access in {"r-xp", "r--p"} and not self.own_kib


def let_go_of_code() -> None:
    """Code and constants of libraries leave this process's memory; what is used comes back page by page.

    After the start that is a third: loading, registering and checking of models and codecs run once (40 MiB a
    camera, measured). The pages stay in the system's cache, so that coming back costs no read. Does nothing
    where the system does not say what is mapped.
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for mapping in _mappings():
        if mapping.is_as_in_its_file:
            madvise(mapping.start, mapping.end - mapping.start, _MADV_DONTNEED)


def _mappings() -> Iterator[_Mapping]:
    try:
        lines = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    mapping: _Mapping | None = None
    for line in lines:
        if head := _RANGE.match(line):
            if mapping is not None:
                yield mapping
            mapping = _Mapping(int(head[1], 16), int(head[2], 16), head[3], int(head[4]))
        elif mapping is not None and line.startswith("Anonymous:"):
            mapping.own_kib = int(line.split()[1])
    if mapping is not None:
        yield mapping
