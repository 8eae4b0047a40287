"""`veil-fleet command` to an agent that runs, through a real Mosquitto with our configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent_desk.box_house import jpeg
from agent_desk.house import events
from fleet_house import MISSING, Authority, Broker, mosquitto_is_missing, wait_for
from mqtt_client import Client
from veil.audit.event import Event, Kind
from veil.audit.log import EventLog
from veil.audit.note import ED25519
from veil.config_load import load_config
from veil.domain.clock import SystemClock
from veil.errors import CommandError, LinkError
from veil.places import CameraPlaces
from veil_fleet.cli import app
from veil_fleet.commands import make_body, sign_command
from veil_fleet.keyfile import read_key

DEVICE = "box-1"
pytestmark = pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING)


@dataclass
class Fleet:
    broker: Broker
    config: Path

    @property
    def places(self) -> CameraPlaces:
        return CameraPlaces.of(load_config(self.config, {}), "front")

    @property
    def settings(self) -> Path:
        return self.broker.ca.folder / "fleet.toml"

    @property
    def box_log(self) -> Path:
        return self.config.parent / "state" / "log" / "box" / "events.jsonl"

    def command(self, *arguments: str, device: str = DEVICE, timeout: str = "15") -> Result:
        return CliRunner().invoke(
            app, ["command", "--config", str(self.settings), "--timeout", timeout, device, *arguments]
        )


def _write_config(folder: Path, broker: Broker, key: str) -> Path:
    card = broker.credentials(DEVICE)
    folder.mkdir()
    path = folder / "veil.toml"
    path.write_text(
        f'''
[box]
name = "{DEVICE}"
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[rtsp]
enabled = false
[fleet]
host = "{broker.host}"
port = {broker.port}
ca = "{card.ca}"
certificate = "{card.certificate}"
key = "{card.key}"
command_keys = ["{key}"]
[camera.front]
source = "rtsp://127.0.0.1:1/front"
[camera.yard]
source = "rtsp://127.0.0.1:1/yard"
'''
    )
    return path


@contextmanager
def _agent(config: Path) -> Iterator[None]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VEIL_")}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    arguments = ["-m", "veil.cli", "agent", "--config", str(config)]
    with (config.parent / "said.txt").open("wb") as said:
        process = subprocess.Popen([sys.executable, *arguments], env=environ, stdout=said, stderr=said)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    root = tmp_path_factory.mktemp("fleet")
    authority = Authority(root / "authority")
    settings = authority.folder / "fleet.toml"
    key = CliRunner().invoke(app, ["command-key", "--config", str(settings)], catch_exceptions=False)
    with Broker(root / "broker", authority) as broker, pytest.MonkeyPatch.context() as patch:
        patch.setenv("VEIL_FLEET_BROKER__PORT", str(broker.fleet_port))
        made_fleet = Fleet(broker, _write_config(root / "box", broker, key.stdout.strip()))
        with _agent(made_fleet.config):
            wait_for(lambda: made_fleet.command("ping", timeout="2").exit_code == 0, "the agent", 60)
            yield made_fleet


def test_ping_is_answered_with_the_version(fleet: Fleet) -> None:
    result = fleet.command("ping")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{DEVICE}: veil ")


def test_a_snapshot_is_the_masked_picture_and_an_access(fleet: Fleet, tmp_path: Path) -> None:
    content = jpeg(320, 180)
    fleet.places.snapshot.parent.mkdir(parents=True, exist_ok=True)
    fleet.places.snapshot.write_bytes(content)
    out = tmp_path / "front.jpg"
    result = fleet.command("snapshot", "front", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == content
    assert events(fleet.box_log, "recording_accessed")[-1]["what"] == "snapshot"
    again = fleet.command("snapshot", "front", "--out", str(out))
    assert "is there already" in str(again.exception)


def test_the_largest_snapshot_passes_the_broker(fleet: Fleet, tmp_path: Path) -> None:
    fleet.places.snapshot.parent.mkdir(parents=True, exist_ok=True)
    fleet.places.snapshot.write_bytes(jpeg(1920, 1080, noise=255))
    out = tmp_path / "front.jpg"
    result = fleet.command("snapshot", "front", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert 20_000 < out.stat().st_size <= 45_000


def test_restart_camera_leaves_the_request(fleet: Fleet) -> None:
    assert fleet.command("restart-camera", "front").exit_code == 0
    assert fleet.places.restart.exists()


def test_reload_restarts_what_changed_and_keeps_what_is_right(fleet: Fleet) -> None:
    good = fleet.config.read_text()
    try:
        fleet.config.write_text(good + "[camera.yard.mask]\nlookback_s = 99\n")
        refused = fleet.command("reload")
        assert isinstance(refused.exception, CommandError)
        assert "lookback_s" in str(refused.exception)
        fleet.config.write_text(good + "[camera.yard.mask]\nlookback_s = 0.1\n")
        assert fleet.command("reload").stdout == "restarted: yard\n"
    finally:
        fleet.config.write_text(good)
    assert fleet.command("reload").stdout == "restarted: yard\n"
    changes = [event for event in events(fleet.box_log, "config_changed") if event["what"] == "in_use"]
    assert changes[0]["old"] == changes[1]["new"]


def test_a_manifest_comes_in_pages_and_whole(fleet: Fleet) -> None:
    start = 1_795_262_400_000_000
    with EventLog(fleet.places.log, "front", SystemClock(), reserve_bytes=0) as log:
        for number in range(300):
            first = start + number * 60_000_000
            data = {
                "file": f"{number}-{'x' * 200}.mp4",
                "first_wall_us": first,
                "last_wall_us": first + 60_000_000,
            }
            log.append(Event(Kind.SEGMENT_CLOSED, data))
    result = fleet.command(
        "manifest", "front", "--from", "2026-11-21T13:20:30+00:00", "--to", "2026-11-22T12:00:00Z"
    )
    assert result.exit_code == 0, result.output
    lines = fleet.places.log.read_text().splitlines()
    assert result.stdout.splitlines() == lines[-len(result.stdout.splitlines()) :]
    assert json.loads(result.stdout.splitlines()[0])["data"]["first_wall_us"] == start + 80 * 60_000_000
    pages = [e for e in events(fleet.box_log, "recording_accessed") if e["what"] == "manifest"]
    assert len(pages) > 1
    assert sum(page["segments"] for page in pages) == 220


def test_a_box_that_is_away_is_said_within_the_time(fleet: Fleet) -> None:
    result = fleet.command("ping", device="box-2", timeout="1")
    assert isinstance(result.exception, CommandError)
    assert "has not answered" in str(result.exception)


def test_a_refusal_of_the_box_is_the_commands_error(fleet: Fleet) -> None:
    result = fleet.command("snapshot", "roof", "--out", "nowhere.jpg")
    assert isinstance(result.exception, CommandError)
    assert "no such camera; it has front, yard" in str(result.exception)


def test_a_replay_from_the_wire_is_refused_and_logged(fleet: Fleet) -> None:
    from veil.messages.command import Arguments, Command

    key = read_key(fleet.broker.ca.folder / "command.key", ED25519)
    body = make_body(DEVICE, Command.PING, Arguments(), time.time_ns())
    payload = sign_command(body, key).encode()
    with Client(fleet.broker, fleet.broker.operator, client_id="replayer") as client:
        for _ in range(2):
            assert client.publish(f"veil/{DEVICE}/command", payload) == 0

    def told(kind: str) -> int:
        return sum(event.get("nonce") == body.nonce for event in events(fleet.box_log, kind))

    wait_for(lambda: told("command_refused") == 1, "the refusal")
    assert told("command_done") == 1


def test_nobody_but_the_operator_may_command(fleet: Fleet) -> None:
    with Client(fleet.broker, fleet.broker.collector, client_id="collector") as client:
        assert client.publish(f"veil/{DEVICE}/command", b"{}") == 135
    with Client(fleet.broker, fleet.broker.credentials("box-9"), client_id="box-9") as client:
        assert client.publish(f"veil/{DEVICE}/command", b"{}") == 135


def test_a_broker_that_is_away_is_one_clear_message(fleet: Fleet) -> None:
    environ = {**os.environ, "VEIL_FLEET_BROKER__PORT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["command", "--config", str(fleet.settings), DEVICE, "ping"]
    ended = subprocess.run(
        [sys.executable, "-m", "veil_fleet.cli", *command],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == LinkError.exit_code
    assert ended.stderr.startswith("veil-fleet: The broker at localhost:1 cannot be used")
    assert "Traceback" not in ended.stderr


def test_the_command_key_is_for_its_owner_only(fleet: Fleet) -> None:
    assert (fleet.broker.ca.folder / "command.key").stat().st_mode & 0o777 == 0o600
