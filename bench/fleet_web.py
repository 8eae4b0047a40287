"""How long the fleet's overview takes with many boxes: `python bench/fleet_web.py [--boxes 10000] [--url …]`.

Makes a database of its own (SQLite in a temporary folder, or the empty one of --url), serves the page from
another process and asks for it over HTTP, signed in, while live pages are open and statuses and health are
written as a collector writes them. Prints percentiles of each kind of request in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import re
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx
import uvicorn
from sqlalchemy import bindparam, insert, update

from veil.audit.event import timestamp
from veil.messages.health import BoxHealth, CameraCondition, CameraHealth, Health
from veil_fleet import users
from veil_fleet.roles import Role
from veil_fleet.settings import FleetSettings, load_settings
from veil_fleet.store import tables
from veil_fleet.store.engine import open_engine, writing
from veil_fleet.store.schema import migrate
from veil_fleet.web.app import create_app

PASSWORD = "correct horse battery"  # noqa: S105  of the bench alone
CAMERAS = ("front", "yard", "gate", "door")
QUERIES = {
    "overview": "/",
    "overview, page 150": "/?page=150&sort=name",
    "by last seen": "/?sort=seen&order=desc",
    "by site and status": "/?site=site-07&status=online",
    "text": "/?q=box-01",
    "open alarms": "/?alarms=open&sort=alarms",
    "one box": "/boxes/box-00042",
    "one box, 7 days": "/boxes/box-00042?span=7d",
}


def health_of(name: str, now_ms: int) -> str:
    camera = CameraHealth(
        condition=CameraCondition.RUNNING,
        picture="ok",
        connected=True,
        fps_in=25.0,
        fps_out=24.9,
        frames_in=90_000,
        frames_out=89_900,
        dropped={"detector_behind": 88, "recorder_behind": 12},
        whole_frames=41,
        slates=2,
        masks=180_000,
        latency_p50_ms=561.0,
        latency_p99_ms=640.0,
        detector_p50_ms=24.0,
        detector_p99_ms=39.5,
        reconnects=1,
        segments=60,
        last_frame_age_s=0.04,
    )
    box = BoxHealth(
        cpu_percent=61.0,
        memory_used_mib=1890,
        memory_total_mib=7774,
        disk_free_mib=120_000,
        disk_total_mib=240_000,
        clock_synchronised=True,
        uptime_s=361_200,
        version="0.2.0",
        python="3.11.2",
        system="Debian GNU/Linux 12",
        config_sha256="ab" * 32,
        queue_events=random.randrange(50),
        queue_bytes=0,
    )
    cameras = dict.fromkeys(CAMERAS, camera)
    return Health(device=name, time=timestamp(now_ms * 1_000_000), cameras=cameras, box=box).encode().decode()


def fill(settings: FleetSettings, boxes: int) -> None:
    engine = open_engine(settings)
    migrate(engine)
    users.add_user(engine, "bench", Role.VIEWER, PASSWORD)
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {
            "name": f"box-{number:05}",
            "site": f"site-{number % 40:02}",
            "enrolled_ms": now_ms,
            "pinned_key": "k" * 90,
            "keys": "k" * 700,
            "status_state": "offline" if number % 50 == 0 else "online",
            "status_reason": "lost" if number % 50 == 0 else "",
            "status_ms": now_ms - random.randrange(15_000),
            "status_expires_s": 3600,
            "version": "0.2.0",
            "bundle": "veil-s 0.2.0",
            "cameras": '["' + '","'.join(CAMERAS) + '"]',
            "health": health_of(f"box-{number:05}", now_ms),
            "health_ms": now_ms,
        }
        for number in range(boxes)
    ]
    alarms = [
        {
            "device": f"box-{number:05}",
            "log": "front",
            "kind": "late",
            "text": "late",
            "raised_ms": now_ms,
            "last_ms": now_ms,
        }
        for number in range(0, boxes, 40)
    ]
    points = [
        {
            "device": "box-00042",
            "camera": camera,
            "time_ms": now_ms - minute * 60_000,
            "fps_in": 25.0,
            "fps_out": 24.0,
            "latency_p99_ms": 600.0 + minute % 50,
            "detector_p50_ms": 24.0,
            "dropped": 20_000 - minute,
            "whole_frames": 0,
        }
        for camera in CAMERAS
        for minute in range(7 * 1440)
    ]
    with writing(engine) as connection:
        for table, made in ((tables.Device, rows), (tables.Alarm, alarms), (tables.HealthPoint, points)):
            for first in range(0, len(made), 1000):
                connection.execute(insert(table), made[first : first + 1000])
    engine.dispose()


def serve(settings: FleetSettings, listener: socket.socket) -> None:
    uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", access_log=False)).run([listener])


def write_as_a_collector(settings: FleetSettings, boxes: int, done: threading.Event) -> None:
    """Statuses every 15 s and health every 30 s of each box, in groups."""
    engine = open_engine(settings)
    status = (
        update(tables.Device).where(tables.Device.name == bindparam("box")).values(status_ms=bindparam("at"))
    )
    health = (
        update(tables.Device)
        .where(tables.Device.name == bindparam("box"))
        .values(health_ms=bindparam("at"), health=bindparam("said"))
    )
    every_s = 0.25
    turn = 0
    while not done.wait(every_s):
        now_ms = time.time_ns() // 1_000_000
        names = [f"box-{(turn * 997 + number) % boxes:05}" for number in range(int(boxes / 15 * every_s))]
        turn += len(names)
        with writing(engine) as connection:
            connection.execute(status, [{"box": name, "at": now_ms} for name in names])
            half = names[: len(names) // 2]
            said = [{"box": name, "at": now_ms, "said": health_of(name, now_ms)} for name in half]
            if said:
                connection.execute(health, said)
    engine.dispose()


def listen(client: httpx.Client, done: threading.Event) -> None:
    gone = contextlib.suppress(httpx.TransportError)  # the server ends with the measurement
    with gone, client.stream("GET", "/live/boxes", timeout=60) as answer:
        answer.raise_for_status()
        for _ in answer.iter_lines():
            if done.is_set():
                return


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boxes", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=100, help="of each kind")
    parser.add_argument("--streams", type=int, default=8, help="live overviews that are open meanwhile")
    parser.add_argument("--url", default="", help="of an empty PostgreSQL database")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(None, folder=Path(folder), database={"url": given.url})
        fill(settings, given.boxes)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            server = multiprocessing.get_context("fork").Process(target=serve, args=(settings, listener))
            server.start()
            try:
                measure(settings, given, f"http://127.0.0.1:{listener.getsockname()[1]}")
            finally:
                server.kill()
                server.join()


def measure(settings: FleetSettings, given: argparse.Namespace, address: str) -> None:
    done = threading.Event()
    with httpx.Client(base_url=address, timeout=60) as client:
        token = None
        for _ in range(100):
            try:
                token = re.search(r'name="token" value="([^"]+)"', client.get("/login").text)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert token is not None, "the server does not answer"
        client.post("/login", data={"name": "bench", "password": PASSWORD, "token": token[1], "next": "/"})
        work = [
            threading.Thread(target=write_as_a_collector, args=(settings, given.boxes, done), daemon=True)
        ]
        work += [
            threading.Thread(target=listen, args=(client, done), daemon=True) for _ in range(given.streams)
        ]
        for thread in work:
            thread.start()
        time.sleep(3)
        kind = "PostgreSQL" if given.url else "SQLite"
        print(f"{given.boxes} boxes, {kind}, {given.streams} live pages, {os.cpu_count()} cores; ms")
        for name, path in QUERIES.items():
            took = []
            for _ in range(given.requests):
                began = time.perf_counter()
                assert client.get(path).status_code == 200
                took.append((time.perf_counter() - began) * 1000)
            cuts = statistics.quantiles(took, n=100)
            print(f"{name:20} p50 {cuts[49]:6.0f}  p95 {cuts[94]:6.0f}  p99 {cuts[98]:6.0f}")
        done.set()


if __name__ == "__main__":
    main()
