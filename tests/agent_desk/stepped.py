"""`python -m agent_desk.stepped FILE MODULE ARGUMENT…`: a program whose wall clock is off by FILE's seconds.

FILE may change at any time. The monotonic clock runs on, as it does when a real clock is set.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

_true_ns = time.time_ns


def main() -> None:
    path = Path(sys.argv[1])

    def time_ns() -> int:
        return _true_ns() + int(path.read_text()) * 1_000_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
