"""Nothing is lost and nothing is there twice, whoever is killed in between.

VEIL_ROUNDS: kills, 20 if unset. Each with 500 events of two cameras.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from fleet.boxes import segment
from fleet.processes import collector_process, fleet_settings
from fleet_house import MISSING, Broker, mosquitto_is_missing, wait_for
from postgres import Postgres
from processes import Process
from veil.audit.checkpoint import Checkpoint
from veil.audit.log import EventLog
from veil.audit.note import Note
from veil.domain.clock import SystemClock
from veil_fleet.store.engine import open_engine
from veil_fleet.store.schema import migrate
from veil_fleet.store.tables import Alarm, Log, LogLine
from veil_fleet.witness import Witness

pytestmark = pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING)

ROUNDS = int(os.environ.get("VEIL_ROUNDS", "20"))
EVENTS_A_ROUND = 500
CAMERAS = ("front", "back")
LIMIT_S = 60.0
"""So far behind is the witness at most, once all is up."""


class Camera(threading.Thread):
    """Writes a log as a camera's process does: a few events at a time, durable each."""

    def __init__(self, state: Path, name: str) -> None:
        super().__init__(daemon=True)
        self._state, self._log_name = state, name
        self.wanted = 0
        self.done = threading.Event()

    def run(self) -> None:
        path = self._state / "log" / self._log_name / "events.jsonl"
        with EventLog(path, self._log_name, SystemClock(), reserve_bytes=0) as log:
            while not self.done.is_set():
                while log.next_sequence < self.wanted:
                    log.append(segment(log.next_sequence, self._log_name))
                time.sleep(0.02)


def lines_of(state: Path, name: str) -> list[str]:
    return (state / "log" / name / "events.jsonl").read_text().splitlines()


class House:
    """Broker, database, two collectors and one box with two cameras."""

    def __init__(self, folder: Path, broker: Broker, database: Postgres) -> None:
        self.folder, self.broker, self.database = folder, broker, database
        settings = fleet_settings(broker, database.url)
        self.engine: Engine = open_engine(settings)
        migrate(self.engine)
        self.witness = Witness.open(settings)
        self.state = folder / "state"
        clients = ("collector-1", "collector-2")
        self.collectors = [collector_process(folder, broker, database.url, client) for client in clients]
        self.agent = Process(folder / "agent.log", "veil.cli", "agent", "--config", str(self._config()))
        self.cameras = [Camera(self.state, name) for name in CAMERAS]

    def _config(self) -> Path:
        card = self.broker.credentials("box-1")
        path = self.folder / "veil.toml"
        text = (
            f'[box]\nname = "box-1"\nstate_dir = "{self.state}"\nruntime_dir = "{self.folder}/run"\n'
            f'[rtsp]\nenabled = false\n[fleet]\nhost = "{self.broker.host}"\nport = {self.broker.port}\n'
            f'ca = "{card.ca}"\ncertificate = "{card.certificate}"\nkey = "{card.key}"\n'
            f'witness_keys = ["{self.witness.verifier}"]\n[agent]\ncheckpoint_every_s = 1\n'
        )
        text += "".join(f'[camera.{name}]\nsource = "rtsp://127.0.0.1:1/{name}"\n' for name in CAMERAS)
        path.write_text(text)
        return path

    def start(self) -> None:
        for part in (*self.collectors, self.agent):
            part.start()
        for camera in self.cameras:
            camera.start()

    def stop(self) -> None:
        for camera in self.cameras:
            camera.done.set()
            camera.join(60)
        for part in (*self.collectors, self.agent):
            part.kill()
        self.engine.dispose()

    def kill_and_start(self, chance: random.Random) -> None:
        """One or two parts go without a word, for a moment or longer."""
        parts: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "broker": (self.broker.kill, self.broker.start),
            "agent": (self.agent.kill, self.agent.start),
            "database": (self.database.kill, self.database.start),
            "collector-1": (self.collectors[0].kill, self.collectors[0].start),
            "collector-2": (self.collectors[1].kill, self.collectors[1].start),
        }
        chosen = chance.sample(sorted(parts), chance.choice((1, 1, 2)))
        for name in chosen:
            parts[name][0]()
        time.sleep(chance.uniform(0, 0.5))
        for name in chosen:
            parts[name][1]()

    def logs(self) -> list[str]:
        return [*CAMERAS, "box"]

    def cosigned(self) -> dict[str, int]:
        with self.engine.connect() as connection:
            rows = connection.execute(select(Log.name, Log.cosigned_size)).all()
        return {row.name: row.cosigned_size for row in rows}

    def behind(self) -> dict[str, int]:
        """Lines that are not cosigned, of each log that has some."""
        cosigned = self.cosigned()
        missing = {name: len(lines_of(self.state, name)) - cosigned.get(name, 0) for name in self.logs()}
        return {name: count for name, count in missing.items() if count}


@pytest.fixture
def house(tmp_path: Path, cluster: Postgres) -> Iterator[House]:
    with Broker(tmp_path / "broker") as broker:
        made = House(tmp_path, broker, cluster)
        try:
            yield made
        finally:
            made.stop()


@pytest.mark.timeout(0)
def test_all_lines_arrive_once_and_are_cosigned_through_kills_of_every_part(house: House) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    house.start()
    wait_for(house.cosigned, "the first receipt", 60)
    for _ in range(ROUNDS):
        for camera in house.cameras:
            camera.wanted += EVENTS_A_ROUND // len(CAMERAS)
        house.kill_and_start(chance)
        time.sleep(chance.uniform(0, 1.0))
    up = time.monotonic()
    per_camera = ROUNDS * (EVENTS_A_ROUND // len(CAMERAS))
    wait_for(
        lambda: all(len(lines_of(house.state, name)) >= per_camera for name in CAMERAS), "the cameras", 300
    )
    wait_for(lambda: not house.behind(), "receipts", 600)
    behind_s = time.monotonic() - up
    print(f"all cosigned {behind_s:.1f} s after the last start")

    with house.engine.connect() as connection:
        for name in house.logs():
            query = select(LogLine.seq, LogLine.line).where(LogLine.log == name).order_by(LogLine.seq)
            rows = connection.execute(query).all()
            assert [row.line for row in rows] == lines_of(house.state, name)[: len(rows)]
            assert [row.seq for row in rows] == list(range(len(rows)))
            if name in CAMERAS:
                assert len(rows) == per_camera
        alarms = connection.execute(select(Alarm.kind, Alarm.log, Alarm.text, Alarm.closed_ms)).all()
    # A gap may have lasted over a minute while something was down; then it was filled, and closed.
    assert [alarm for alarm in alarms if alarm.kind != "gap" or alarm.closed_ms is None] == []
    at_the_box = {per_camera}
    wait_for(
        lambda: {receipt_size(house.state, name) for name in CAMERAS} == at_the_box, "receipts there", 30
    )
    assert behind_s <= LIMIT_S, "nothing is lost, but it came late"


def receipt_size(state: Path, name: str) -> int:
    path = state / "log" / name / "cosigned"
    return Checkpoint.parse(Note.parse(path.read_text()).text).size if path.exists() else 0
