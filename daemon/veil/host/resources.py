"""What a process uses, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_KIBIBYTE = 1024


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One process at one time.

    Attributes:
        resident_bytes, peak_resident_bytes: memory in RAM, now and at most so far.
        cpu_s: seconds of CPU since its start, user and system, over all threads.
        threads, open_files: counts.
    """

    resident_bytes: int
    peak_resident_bytes: int
    cpu_s: float
    threads: int
    open_files: int


def process_use(pid: int | None = None) -> ProcessUse:
    """Of this process, or of `pid`. Raises OSError when it is gone or belongs to somebody else."""
    folder = Path("/proc") / str(os.getpid() if pid is None else pid)
    status = dict(
        line.split(":", 1)
        for line in (folder / "status").read_text(encoding="utf-8").splitlines()
        if ":" in line
    )
    # The name in the second field may hold spaces and brackets.
    stat = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = int(stat[11]) + int(stat[12])
    return ProcessUse(
        resident_bytes=_kib(status, "VmRSS"),
        peak_resident_bytes=_kib(status, "VmHWM"),
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
        threads=int(status["Threads"]),
        open_files=len(list((folder / "fd").iterdir())),
    )


def _kib(status: dict[str, str], key: str) -> int:
    """0 for kernel threads and zombies, which have no memory."""
    return int(status.get(key, "0 kB").split()[0]) * _KIBIBYTE
