"""What a camera's process does about its memory, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_LOAD = """
import os
from fractions import Fraction
import av, cv2
import numpy as np
from veil.host.memory import let_go_of_code
from veil.host.secrecy import forbid_memory_dumps

def of_files():
    return int(open("/proc/self/statm").read().split()[2]) * os.sysconf("SC_PAGE_SIZE")

def work():
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 30)
    picture = cv2.resize(np.arange(256, dtype=np.uint8).reshape(16, 16), (64, 64))
    packets = encoder.encode(av.VideoFrame.from_ndarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)))
    return b"".join(bytes(packet) for packet in packets + encoder.encode(None))

forbid_memory_dumps()
"""


def told(program: str) -> list[int]:
    return [int(word) for word in subprocess.check_output([sys.executable, "-c", _LOAD + program]).split()]


def test_code_that_is_let_go_takes_no_memory_and_comes_back_when_it_runs() -> None:
    program = (
        "before = work(); loaded = of_files(); let_go_of_code(); let_go = of_files(); after = work();"
        "print(loaded, let_go, of_files(), int(before == after), len(after))"
    )
    loaded, let_go, used, is_same, size = told(program)
    assert let_go < loaded / 2
    assert used < loaded
    assert is_same == 1
    assert size > 100
