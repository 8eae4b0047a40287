"""`make fleet-bench`: 10,000 boxes against one Mosquitto, one collector and PostgreSQL on this machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, text

from fleet.processes import fleet_settings
from fleet_house import Broker, free_ports, wait_for
from postgres import Postgres, postgres
from processes import ENVIRONMENT, Process
from veil_fleet.roles import Role
from veil_fleet.store.engine import open_engine
from veil_fleet.store.schema import migrate
from veil_fleet.users import add_user

PASSWORD = "a long enough password"  # noqa: S105  of a database that lives for minutes
PAGES = 60


@dataclass(frozen=True, slots=True)
class Share:
    """Of one part, between two moments: CPU time, cores in use, and the memory at the end."""

    cpu_s: float
    cores: float
    memory_mib: int


class Meter:
    """CPU time and memory of process trees."""

    def __init__(self, parts: Mapping[str, int]) -> None:
        self._parts = {name: psutil.Process(pid) for name, pid in parts.items()}
        self._at = time.monotonic()
        self._before = {name: self._cpu_s(process) for name, process in self._parts.items()}

    def _tree(self, process: psutil.Process) -> list[psutil.Process]:
        return [process, *process.children(recursive=True)]

    def _cpu_s(self, process: psutil.Process) -> float:
        total = 0.0
        for one in self._tree(process):
            try:
                times = one.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def shares(self) -> dict[str, Share]:
        passed = time.monotonic() - self._at
        made = {}
        for name, process in self._parts.items():
            used = self._cpu_s(process) - self._before[name]
            memory = sum(one.memory_info().rss for one in self._tree(process)) >> 20
            made[name] = Share(used, used / passed, memory)
        return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boxes", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--speed", type=float, default=1.0, help="2: everything twice as often")
    arguments = parser.parse_args()
    print(
        f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"load before {os.getloadavg()[0]:.1f}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="veil-fleet-bench-") as name,
        postgres() as database,
        Broker(Path(name) / "broker", plain=True, settings={"autosave_s": 60}) as broker,
    ):
        measure(Path(name), database, broker, arguments.boxes, arguments.seconds, arguments.speed)


def measure(
    folder: Path, database: Postgres, broker: Broker, boxes: int, seconds: float, speed: float
) -> None:
    settings = fleet_settings(broker, database.url)
    engine = open_engine(settings)
    migrate(engine)
    add_user(engine, "viewer", Role.VIEWER, PASSWORD)
    (port,) = free_ports(1)
    environment = {
        "VEIL_FLEET_FOLDER": str(settings.folder),
        "VEIL_FLEET_BROKER__HOST": settings.broker.host,
        "VEIL_FLEET_BROKER__PORT": str(settings.broker.port),
        "VEIL_FLEET_DATABASE__URL": database.url,
        "VEIL_FLEET_WEB__PORT": str(port),
    }
    said = folder / "serve.log"
    with Process(said, "veil_fleet.cli", "serve", environment=environment) as serve:
        wait_for(lambda: "connected to" in said.read_text(), "the collector", 60)
        simulator = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "fleet_boxes.py")]
            + [str(value) for value in (broker.plain_port, boxes, seconds, speed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        assert simulator.stdin is not None
        assert simulator.stdout is not None
        born_at = time.monotonic()
        simulator.stdout.readline()
        wait_for(lambda: count(engine, "devices WHERE keys <> ''") == boxes, "all boxes", 600)
        print(f"{boxes} boxes said hello (status and keys) in {time.monotonic() - born_at:.1f} s")
        assert broker.process is not None
        meter = Meter(
            {
                "mosquitto": broker.process.pid,
                "collector and web": serve.pid,
                "postgresql": database.pid,
                "simulated boxes": simulator.pid,
            }
        )
        simulator.stdin.write("\n")
        simulator.stdin.flush()
        before = count(engine, "events")
        time.sleep(seconds / 2)
        pages = page_times(port)
        simulator.stdout.readline()
        shares = meter.shares()
        stored = count(engine, "events") - before
        result = json.loads(simulator.stdout.readline())
        simulator.wait()
        alone = page_times(port)
        report(result, shares, stored, pages, alone, engine)
    engine.dispose()


def report(
    result: dict[str, object],
    shares: Mapping[str, Share],
    stored: int,
    pages: list[float],
    alone: list[float],
    engine: Engine,
) -> None:
    sent: dict[str, int] = result["sent"]  # type: ignore[assignment]
    seconds = float(str(result["seconds"]))
    total = sum(sent.values())
    kinds = ", ".join(f"{kind} {number / seconds:.0f}/s" for kind, number in sorted(sent.items()))
    print(
        f"sent for {seconds:.0f} s: {total / seconds:.0f} messages/s ({kinds}); "
        f"the sender was late by at most {result['sender_late_s']} s"
    )
    print(
        f"lines stored while sending: {stored} of {sent['log']}; in the end {count(engine, 'events')}; "
        f"cosigned to the end: {count(engine, 'logs WHERE cosigned_size = seen_size')} "
        f"of {count(engine, 'logs')} logs"
    )
    print(
        f"lag, from the signature at a box to its receipt there: p50 {result['delay_p50_s']} s, "
        f"p95 {result['delay_p95_s']} s, max {result['delay_max_s']} s; "
        f"resends asked for: {result['resends']}"
    )
    for name, share in shares.items():
        each = share.cpu_s / total * 1e6
        print(f"  {name}: {share.cores:.2f} cores, {each:.0f} us of CPU a message, {share.memory_mib} MiB")
    used = sum(share.cores for share in shares.values())
    most = max(shares, key=lambda name: shares[name].cores)
    print(f"together {used:.2f} of {os.cpu_count()} cores; the most: {most}")
    for what, times in (("under this load", pages), ("without load", alone)):
        ordered = sorted(times)
        print(
            f"overview page {what}: p50 {ordered[len(ordered) // 2] * 1000:.0f} ms, "
            f"p95 {ordered[int(len(ordered) * 0.95)] * 1000:.0f} ms ({len(ordered)} requests)"
        )
    print("The boxes share 8 connections without TLS and access list; the collector's has both.")


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())  # noqa: S608


def page_times(port: int) -> list[float]:
    """Seconds of single requests for the overview, signed in."""
    times = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, follow_redirects=True) as client:
        token = re.search(r'name="token" value="([^"]+)"', client.get("/login").text)
        assert token is not None
        sent = {"name": "viewer", "password": PASSWORD, "token": token[1]}
        client.post("/login", data=sent).raise_for_status()
        for _ in range(PAGES):
            start = time.monotonic()
            page = client.get("/")
            times.append(time.monotonic() - start)
            page.raise_for_status()
            assert "box-" in page.text
            time.sleep(0.1)
    return times


if __name__ == "__main__":
    main()
