"""Records packets from a file in real time, until it is killed. Argv: packets, directory, frame rate."""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

from veil.config import RecorderConfig
from veil.domain.clock import SystemClock
from veil.encode.packet import MaskedPacket
from veil.sinks.recorder import Recorder


def main() -> None:
    packets: list[MaskedPacket] = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301  our own
    rate = float(sys.argv[3])
    recorder = Recorder(
        RecorderConfig(segment_s=2, min_free_mib=0),
        camera="front",
        directory=Path(sys.argv[2]),
        clock=SystemClock(),
        on_segment=lambda _: None,
        on_set_aside=lambda _: None,
    )
    with recorder:
        began = time.monotonic()
        for index, packet in enumerate(packets):
            recorder.write(packet)
            # The packet's number, so that the test knows how far it came.
            sys.stdout.buffer.write(index.to_bytes(4))
            sys.stdout.buffer.flush()
            time.sleep(max(0.0, began + index / rate - time.monotonic()))


if __name__ == "__main__":
    main()
