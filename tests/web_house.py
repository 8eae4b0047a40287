"""A fleet in a database: boxes with health, and logs that were really signed and cosigned."""

from __future__ import annotations

import functools
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, insert, update

from veil.audit.checkpoint import FIRST_PREVIOUS, Checkpoint, key_name_of, origin_of
from veil.audit.event import Event, Kind, canonical_line, timestamp
from veil.audit.keyring import KeyRecord
from veil.audit.note import COSIGNATURE_V1, SigningKey, cosign_note
from veil.audit.tree import Frontier, leaf_hash
from veil.messages.health import BoxHealth, CameraCondition, CameraHealth, Health
from veil_fleet import users
from veil_fleet.keyfile import make_key
from veil_fleet.roles import Role
from veil_fleet.settings import FleetSettings, load_settings
from veil_fleet.store import tables
from veil_fleet.store.engine import open_engine, writing
from veil_fleet.store.schema import migrate
from veil_fleet.web.app import create_app
from veil_fleet.web.house import wall_ms

PASSWORD = "correct horse battery"
MINUTE_US = 60_000_000


def camera_health(**given: object) -> CameraHealth:
    """Of a camera that is well; what is given replaces that."""
    made: dict[str, object] = {
        "condition": CameraCondition.RUNNING,
        "picture": "ok",
        "connected": True,
        "fps_in": 25.0,
        "fps_out": 24.9,
        "frames_in": 90_000,
        "frames_out": 89_900,
        "dropped": {"detector_behind": 88, "recorder_behind": 12},
        "whole_frames": 41,
        "slates": 2,
        "masks": 180_000,
        "latency_p50_ms": 561.0,
        "latency_p99_ms": 640.0,
        "detector_p50_ms": 24.0,
        "detector_p99_ms": 39.5,
        "reconnects": 1,
        "segments": 60,
        "last_frame_age_s": 0.04,
    }
    return CameraHealth.model_validate(made | given)


def box_health(**given: object) -> BoxHealth:
    """Of a machine that is well."""
    made: dict[str, object] = {
        "cpu_percent": 61.0,
        "memory_used_mib": 1890,
        "memory_total_mib": 7774,
        "disk_free_mib": 120_000,
        "disk_total_mib": 240_000,
        "temperature_c": 57.5,
        "clock_synchronised": True,
        "clock_offset_ms": 12.0,
        "uptime_s": 361_200,
        "version": "0.2.0",
        "python": "3.11.2",
        "system": "Debian GNU/Linux 12",
        "config_sha256": "ab" * 32,
        "queue_events": 0,
        "queue_bytes": 0,
    }
    return BoxHealth.model_validate(made | given)


@dataclass(slots=True)
class SignedLog:
    """One log of a box, as the box writes it and as the fleet manager has it.

    Attributes:
        cosign_every: every how many checkpoints one is cosigned: those in between never came.
    """

    device: str
    name: str
    key: SigningKey
    witness: SigningKey
    cosign_every: int = 2
    lines: list[bytes] = field(default_factory=list)
    _tree: Frontier = field(default_factory=Frontier)
    _previous: bytes = FIRST_PREVIOUS
    _made: int = 0

    def append(self, connection: Connection, event: Event, wall_us: int) -> int:
        """Writes a line; its sequence number."""
        seq = len(self.lines)
        before = leaf_hash(self.lines[-1]) if self.lines else bytes(32)
        line = canonical_line(self.name, seq, before, wall_us * 1000, event)
        self.lines.append(line)
        self._tree.append(leaf_hash(line))
        row = {
            "device": self.device,
            "log": self.name,
            "seq": seq,
            "kind": str(event.kind),
            "time": timestamp(wall_us * 1000),
            "received_ms": wall_us // 1000,
            "line": line.decode(),
        }
        connection.execute(insert(tables.LogLine).values(row))
        return seq

    def segment(self, connection: Connection, wall_us: int, **given: object) -> int:
        """A recording of a minute that ends at `wall_us`."""
        start = wall_us - MINUTE_US
        data: dict[str, object] = {
            "file": f"{self.name}-{timestamp(start * 1000)[:19].replace(':', '').replace('-', '')}.mp4",
            "sha256": leaf_hash(f"{self.device}{self.name}{wall_us}".encode()).hex(),
            "bytes": 4_123_456,
            "first_wall_us": start,
            "last_wall_us": wall_us,
            "frames_masked": 1480,
            "frames_whole": 12,
            "frames_slate": 0,
            "frames_dropped": 3,
        }
        data |= given
        seq = self.append(connection, Event(Kind.SEGMENT_CLOSED, data), wall_us)  # type: ignore[arg-type]
        row = {
            "device": self.device,
            "camera": self.name,
            "seq": seq,
            "file": data["file"],
            "sha256": data["sha256"],
            "size": data["bytes"],
            "start": timestamp(start * 1000),
            "end": timestamp(wall_us * 1000),
            "frames": 1492,
        }
        connection.execute(insert(tables.Segment).values(row))
        return seq

    def sign(self, connection: Connection, wall_us: int) -> None:
        """A checkpoint; every `cosign_every`th is cosigned and stored."""
        checkpoint = Checkpoint(
            origin_of(self.device, self.name),
            self._tree.size,
            self._tree.root(),
            timestamp(wall_us * 1000),
            self._previous,
        )
        self._previous = checkpoint.digest()
        self._made += 1
        if self._made % self.cosign_every:
            return
        note = cosign_note(checkpoint.sign(self.key), self.witness, wall_us // 1_000_000).encode()
        peaks = b"".join(self._tree.peaks)
        row = {
            "device": self.device,
            "log": self.name,
            "size": checkpoint.size,
            "note": note,
            "peaks": peaks,
            "cosigned_ms": wall_us // 1000,
        }
        connection.execute(insert(tables.Checkpoint).values(row))
        connection.execute(
            update(tables.Log)
            .where(tables.Log.device == self.device, tables.Log.name == self.name)
            .values(cosigned_size=checkpoint.size, cosigned=note, cosigned_ms=wall_us // 1000, peaks=peaks)
        )

    def stored(self, connection: Connection) -> None:
        """Says how many lines are there."""
        connection.execute(
            update(tables.Log)
            .where(tables.Log.device == self.device, tables.Log.name == self.name)
            .values(stored_size=len(self.lines), seen_size=len(self.lines))
        )


class WebHouse:
    """A fleet manager's page over a database of its own."""

    def __init__(self, settings: FleetSettings) -> None:
        self.settings = settings
        self.engine: Engine = open_engine(settings)
        migrate(self.engine)
        self.witness = make_key(settings.witness_key_file, "veil-fleet", COSIGNATURE_V1)
        self.keys: dict[str, SigningKey] = {}
        self.clients: dict[str, TestClient] = {}
        self.app: FastAPI = create_app(settings, self.engine)

    def close(self) -> None:
        self.engine.dispose()

    def add_users(self) -> None:
        """One for each role, named like it, with `PASSWORD`."""
        made = {"password": _hashed(), "created_ms": wall_ms()}
        with writing(self.engine) as connection:
            for role in Role:
                connection.execute(insert(tables.User).values(name=str(role), role=str(role), **made))

    def client(self, *, address: str = "127.0.0.1") -> TestClient:
        """A browser, not signed in."""
        return TestClient(
            self.app, base_url="http://127.0.0.1:8600", follow_redirects=False, client=(address, 5000)
        )

    def signed_in(self, name: str) -> TestClient:
        """A browser of the user `name`."""
        client = self.client()
        assert sign_in(client, name, PASSWORD) == 303
        return client

    def box(
        self,
        name: str,
        site: str = "Depot North",
        names: tuple[str, ...] = ("front", "yard"),
        **given: object,
    ) -> None:
        """An online box with its key; `given` replaces columns of its row."""
        key = self.keys[name] = SigningKey.generate(key_name_of(name))
        now_ms = wall_ms()
        health = Health(
            device=name,
            time=timestamp(now_ms * 1_000_000),
            cameras={camera: camera_health() for camera in names},
            box=box_health(),
        )
        record = KeyRecord.make(name, key, None, {}, timestamp(now_ms * 1_000_000))
        row: dict[str, object] = {
            "name": name,
            "site": site,
            "enrolled_ms": now_ms - 86_400_000,
            "pinned_key": str(key.verifier),
            "keys": record.line().decode() + "\n",
            "status_state": "online",
            "status_ms": now_ms,
            "status_expires_s": 45,
            "version": "0.2.0",
            "bundle": "veil-s 0.2.0",
            "cameras": json.dumps(names),
            "health": health.encode().decode(),
            "health_ms": now_ms,
            "camera_states": "{}",
        }
        with writing(self.engine) as connection:
            connection.execute(insert(tables.Device).values(row | given))

    def log(self, device: str, name: str, cosign_every: int = 2) -> SignedLog:
        """An empty log."""
        with writing(self.engine) as connection:
            connection.execute(insert(tables.Log).values(device=device, name=name))
        return SignedLog(device, name, self.keys[device], self.witness, cosign_every)

    def segments(self, device: str, name: str, count: int, *, minutes_ago: int = 0) -> SignedLog:
        """A log of `count` minutes of recordings up to now; the last lines are not cosigned yet."""
        log = self.log(device, name)
        end_us = wall_ms() * 1000 - minutes_ago * MINUTE_US
        with writing(self.engine) as connection:
            began = end_us - (count + 1) * MINUTE_US
            log.append(connection, Event(Kind.CAMERA_STARTED, {"version": "0.2.0"}), began)
            for minute in range(count):
                at = end_us - (count - 1 - minute) * MINUTE_US
                if minute % 3 == 1:
                    log.append(connection, Event(Kind.WHOLE_FRAME, {"frames": 4, "reason": "late"}), at - 9)
                log.segment(connection, at)
                log.sign(connection, at + 500_000)
            log.append(connection, Event(Kind.SOURCE_LOST, {"reason": "no packet for 5 s"}), end_us + 1)
            log.stored(connection)
        return log

    def alarm(self, device: str, **given: object) -> int:
        """An open alarm; its id."""
        now_ms = wall_ms()
        row: dict[str, object] = {
            "device": device,
            "log": "front",
            "kind": "fork",
            "text": "The box shows another line 7 than before.",
            "evidence": "[]",
            "raised_ms": now_ms - 60_000,
            "last_ms": now_ms,
        }
        with writing(self.engine) as connection:
            made = connection.execute(insert(tables.Alarm).values(row | given).returning(tables.Alarm.id))
            return int(made.scalar_one())

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The page behind a real server; gives its address."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            config = uvicorn.Config(
                self.app, log_level="error", access_log=False, timeout_graceful_shutdown=1, lifespan="on"
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            try:
                deadline = time.monotonic() + 20
                while not server.started:
                    assert time.monotonic() < deadline, "the server does not start"
                    time.sleep(0.02)
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join(20)
                assert not thread.is_alive(), "the server does not end"


@functools.cache
def _hashed() -> str:
    """Argon2 takes its time: once for all houses."""
    return users.hashed(PASSWORD)


def make_house(folder: Path) -> WebHouse:
    return WebHouse(load_settings(None, folder=folder))


def csrf_of(page: str) -> str:
    """The token of a page's forms."""
    match = re.search(r'name="csrf" value="([^"]+)"', page)
    assert match is not None
    return match[1]


def sign_in(client: TestClient, name: str, password: str, onward: str = "/") -> int:
    """The answer's status."""
    page = client.get("/login")
    match = re.search(r'name="token" value="([^"]+)"', page.text)
    assert match is not None, page.text
    sent = {"name": name, "password": password, "token": match[1], "next": onward}
    return client.post("/login", data=sent).status_code
