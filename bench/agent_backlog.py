"""How long the agent takes over a backlog: `PYTHONPATH=tests .venv/bin/python bench/agent_backlog.py`.

Eight cameras' logs without any receipt, one real Mosquitto with TLS, one listener that cosigns. Prints the
time until all is cosigned, the CPU time and memory of the agent, and what it uses while nothing happens.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from agent.house import AgentProcess, Listener, write_config
from fleet_house import Broker
from veil.audit.event import Event, Kind, canonical_line
from veil.audit.tree import leaf_hash

CAMERAS = 8
IDLE_S = 30


def write_log(folder: Path, name: str, count: int) -> None:
    """Lines of about 900 bytes."""
    folder.mkdir(parents=True)
    previous = bytes(32)
    with (folder / "events.jsonl").open("wb") as file:
        for number in range(count):
            event = Event(Kind.FAULT, {"text": "x" * 700})
            line = canonical_line(name, number, previous, time.time_ns(), event)
            previous = leaf_hash(line)
            file.write(line + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    each = parser.parse_args().lines // CAMERAS
    names = [f"cam{number}" for number in range(CAMERAS)]
    with tempfile.TemporaryDirectory(prefix="veil-bench-") as folder:
        box = Path(folder) / "box"
        for name in names:
            write_log(box / "state" / "log" / name, name, each)
        with Broker(Path(folder) / "broker") as broker, Listener(broker, witness=True) as fleet:
            config = write_config(box, broker, cameras=" ".join(names), agent="")
            began = time.monotonic()
            with AgentProcess(config) as agent:
                for name in names:
                    fleet.wait_cosigned(name, each, 3600)
                took_s = time.monotonic() - began
                assert agent.process is not None
                process = psutil.Process(agent.process.pid)
                busy, memory = process.cpu_times(), process.memory_info().rss
                time.sleep(IDLE_S)
                after = process.cpu_times()
    used_s = busy.user + busy.system
    print(f"{each * CAMERAS} lines cosigned in {took_s:.1f} s, {used_s:.1f} s of CPU, {memory >> 20} MiB")
    print(f"idle: {100 * (after.user + after.system - used_s) / IDLE_S:.1f} % of a core")


if __name__ == "__main__":
    main()
