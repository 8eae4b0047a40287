"""Programs of others end with the process that started them, whatever ends that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import os, subprocess, sys, time
environ = os.environ | {"VEIL_DIES_WITH": str(os.getpid())}
child = subprocess.Popen([sys.executable, "-m", "veil.host.leash", "sleep", "300"], env=environ)
print(child.pid, flush=True)
time.sleep(300)
"""


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_program_on_the_leash_ends_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        end = time.monotonic() + 20
        while not _command(pid).startswith(b"sleep\0"):
            assert time.monotonic() < end
            time.sleep(0.05)
        parent.kill()
    while _command(pid):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)


def test_without_a_parent_to_die_with_it_is_just_the_program() -> None:
    environ = {key: value for key, value in os.environ.items() if key != "VEIL_DIES_WITH"}
    done = subprocess.run(
        [sys.executable, "-m", "veil.host.leash", "sh", "-c", "kill -TERM $$"], env=environ, check=False
    )
    assert done.returncode == -signal.SIGTERM
