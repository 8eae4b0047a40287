"""The whole house for long, one process after another killed at random (`make soak`, VEIL_SOAK_MINUTES).

At its end: nothing recognisable in what cameras left, no evidence lost, logs that verify, memory bounded.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

import rtsp_server
from fleet_house import MISSING, mosquitto_is_missing, wait_for
from oracle import PICTURES, Scene, scene_clip
from privacy.search import markers_in
from veil import supervise
from veil.demo.ports import free_port
from veil.supervise import Service, Supervision
from veil.up import agent_service, rtsp_service
from veil_fleet.store.queries import Liveness
from whole_house import PACKAGES, TESTS, VEIL, VEIL_FLEET, Box, WholeHouse, run_any

MINUTES = float(os.environ.get("VEIL_SOAK_MINUTES", "0"))
SEED = int(os.environ.get("VEIL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)

pytestmark = [
    pytest.mark.skipif(not MINUTES, reason="VEIL_SOAK_MINUTES is not set: make soak"),
    pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING),
    pytest.mark.skipif(not rtsp_server.is_available(), reason="needs gst-rtsp-server"),
]

NAME = "box-1"
WIDTH, HEIGHT, RATE = 480, 270, 10
PAUSE_S = (3.0, 15.0)
SETTLED_S = 180.0
MOST_SEARCHED = 40
MOST_MIB = {
    "agent": 250,
    "rtsp": 250,
    "fleet manager": 500,
    "broker": 300,
    "camera front": 900,
    "camera yard": 900,
}
"""Of each process at any time; a leak of a megabyte a minute shows in an hour."""
_BENIGN = {"late", "gap"}
"""Alarms that say what was the case: the other side was away."""
_SECTIONS = """
[capture]
reconnect_min_s = 0.1
reconnect_max_s = 1.0
stall_timeout_s = 3.0
[recorder]
segment_s = 10.0
fragment_s = 1.0
min_free_mib = 1.0
[preview]
interval_s = 1.0
"""


@dataclass
class Soak:
    """What runs, and what was seen of it."""

    house: WholeHouse
    box: Box
    supervision: Supervision
    memory_mib: dict[str, float] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)

    def pids(self) -> dict[str, int]:
        found = dict(self.supervision.pids())
        if self.house.broker.process is not None:
            found["broker"] = self.house.broker.process.pid
        return found

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.supervision.step(0.1)
            self._measure()

    def settle(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + SETTLED_S
        while not condition():
            assert time.monotonic() < end, f"not within {SETTLED_S:g} s: {what}\n{self.said()}"
            self.run_for(0.5)

    def kill(self, name: str) -> None:
        self.killed[name] += 1
        if name == "broker":
            self.house.broker.kill()
            self.run_for(1.0)
            self.house.broker.start()
        elif (pid := self.pids().get(name)) is not None:
            os.kill(pid, signal.SIGKILL)

    def _measure(self) -> None:
        for name, pid in self.pids().items():
            try:
                used = psutil.Process(pid).memory_info().rss / 2**20
            except psutil.Error:
                continue
            self.memory_mib[name] = max(used, self.memory_mib.get(name, 0.0))

    def said(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.house.root.glob("*.txt"))


def _kept(service: Service, root: Path) -> Service:
    """What it says goes into a file."""
    out = root / f"{service.name.replace(' ', '-')}.txt"
    path = os.pathsep.join((str(PACKAGES), str(TESTS), *sys.path))
    script = f'exec "$@" >>"{out}" 2>&1'
    environ = {"PYTHONPATH": path, **service.environ}
    command = ["/bin/sh", "-c", script, "sh", *service.command]
    return Service(service.name, command, notifies=service.notifies, environ=environ)


def _services(house: WholeHouse, box: Box) -> list[Service]:
    cameras = [
        Service(
            f"camera {name}",
            [sys.executable, "-m", "privacy.oracle_camera", str(box.config_path), name],
            notifies=True,
        )
        for name in box.cameras
    ]
    manager = Service("fleet manager", [*VEIL_FLEET, "serve"], notifies=False, environ=house.environ)
    listed = [manager, agent_service(box.config), rtsp_service(box.config), *cameras]
    return [_kept(service, house.root) for service in listed]


@contextmanager
def _soak(root: Path) -> Iterator[Soak]:
    clip = scene_clip(Scene(WIDTH, HEIGHT), frames=PICTURES, rate=RATE)
    with ExitStack() as scope:
        source = scope.enter_context(rtsp_server.serve(clip))
        house = scope.enter_context(WholeHouse(root))
        box = house.enroll(
            NAME,
            cameras={"front": source.address, "yard": source.address},
            sections=_SECTIONS,
            rtsp=f'address = "127.0.0.1"\nport = {free_port(0)}',
        )
        box.config.box.runtime_dir.mkdir(parents=True)
        supervision = scope.enter_context(Supervision(_services(house, box), lambda _: None))
        yield Soak(house, box, supervision)


@pytest.mark.timeout(0)
def test_after_random_kills_for_long_nothing_leaked_nothing_is_lost_and_all_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many failures in a minute would be waited for longer and longer.
    monkeypatch.setattr(supervise, "_BACKOFF_S", (0.5,))
    chance = random.Random(SEED)
    print(f"seed {SEED}, {MINUTES:g} min")
    with _soak(tmp_path) as soak:
        house, box = soak.house, soak.box
        soak.settle(lambda: house.liveness(NAME) is Liveness.ONLINE, "online")
        soak.settle(lambda: len(house.segments(NAME)) >= 1, "a first segment")
        targets = sorted(soak.pids())
        end = time.monotonic() + MINUTES * 60
        while time.monotonic() < end:
            soak.run_for(chance.uniform(*PAUSE_S))
            soak.kill(chance.choice(targets))
        soak.settle(lambda: house.liveness(NAME) is Liveness.ONLINE, "online again")
        soak.settle(
            lambda: all(house.condition(NAME, name) == "running" for name in box.cameras), "cameras again"
        )
        pids = soak.supervision.pids()
        for name in box.cameras:
            os.kill(pids[f"camera {name}"], signal.SIGSTOP)
        soak.house.wait_cosigned_except_new(box, SETTLED_S)
        print(f"killed {dict(soak.killed)}")
        print("MiB at most", {name: round(used) for name, used in sorted(soak.memory_mib.items())})
        stored = {log: house.lines(NAME, log) for log in ("box", *box.cameras)}
        alarms = [alarm for alarm in house.alarms() if alarm[1] not in _BENIGN]
    for log, lines in stored.items():
        written = (box.log / log / "events.jsonl").read_text().splitlines()
        assert written[: len(lines)] == lines, log
        # Behind what was waited for, only the end of the house.
        assert len(written) - len(lines) <= 5, log
    assert alarms == []
    assert {name for name, used in soak.memory_mib.items() if used > MOST_MIB[name]} == set()
    _sign_the_rest(box)
    verified = run_any([*VEIL, "log", "verify", "--complete", str(box.log)], limit_s=600)
    assert verified.returncode == 0, verified.stdout
    left = _left_by(box, chance)
    for path in left:
        assert markers_in(path, WIDTH, HEIGHT, every=10) == set(), path
    print(f"{sum(map(len, stored.values()))} lines, {len(left)} files searched")
    assert left


def _sign_the_rest(box: Box) -> None:
    """What was written at the end of the house: the agent starts once more, without a broker."""
    starts = len(box.events("box", "agent_started"))
    agent = box.agent.start()
    wait_for(lambda: len(box.events("box", "agent_started")) > starts, "the agent", 60)
    assert agent.stop() == 0, agent.tail()


def _left_by(box: Box, chance: random.Random) -> list[Path]:
    """Whatever lies below the box's folder that may hold a picture; of whole recordings 40 at most."""
    others = {".part", ".jpg", ".h264", ".json"}
    found = [path for path in box.folder.rglob("*") if path.is_file()]
    recordings = [path for path in found if path.suffix == ".mp4"]
    chance.shuffle(recordings)
    return [*recordings[:MOST_SEARCHED], *(path for path in found if path.suffix in others)]
