"""The process: one per box, signs with or without a link, says what it runs with, ends with clear words."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from agent.house import DEVICE, AgentThread, write_config
from fleet_house import Broker, wait_for
from veil.agent.lock import only_agent
from veil.agent.machine import Machine, bundle_of
from veil.agent.tls import client_context
from veil.config import FleetConfig
from veil.config_load import load_config
from veil.errors import LinkError, VeilError
from veil.up import services


def events(box: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (box / "state/log/box/events.jsonl").read_text().splitlines()]


def test_a_box_has_one_agent(tmp_path: Path) -> None:
    with only_agent(tmp_path), pytest.raises(VeilError, match="Another agent"), only_agent(tmp_path):
        pass
    with only_agent(tmp_path):
        pass


def test_start_and_stop_are_evidence(tmp_path: Path) -> None:
    box = tmp_path / "box"
    path = write_config(box, None, cameras="front")
    with AgentThread(path):
        wait_for((box / "state/log/box/checkpoints.jsonl").exists, "a start")
    started, *_, stopped = events(box)
    data = started["data"]
    assert isinstance(data, dict)
    assert started["kind"] == "agent_started"
    assert data["config_sha256"] == load_config(path, {}).digest
    assert (data["box"], data["cameras"]) == (DEVICE, ["front"])
    bundle = bundle_of(load_config(path, {}))
    assert bundle is not None
    assert (data["bundle"], data["bundle_version"], data["bundle_sha256"]) == (
        bundle.name,
        bundle.version,
        bundle.sha256,
    )
    assert (stopped["kind"], stopped["data"]) == ("agent_stopped", {"reason": "asked"})


def test_systemd_is_told_ready_alive_and_stopping(tmp_path: Path) -> None:
    path = write_config(tmp_path / "box", None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(30)
        child = subprocess.Popen(
            [sys.executable, "-m", "veil.cli", "agent", "--config", str(path)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "WATCHDOG_USEC": "10000000",
            },
            stderr=subprocess.PIPE,
        )
        try:
            said = [notify.recv(100)]
            while said[-1] != b"READY=1":
                said.append(notify.recv(100))
            assert notify.recv(100) == b"WATCHDOG=1"
            child.send_signal(signal.SIGTERM)
            while said[-1] != b"STOPPING=1":
                said.append(notify.recv(100))
            assert child.wait(30) == 0, child.communicate()[1].decode()
        finally:
            child.kill()
            child.communicate()


@pytest.mark.parametrize("missing", ["ca", "certificate", "key"])
def test_a_missing_file_is_told_and_the_agent_goes_on(broker: Broker, tmp_path: Path, missing: str) -> None:
    box = tmp_path / "box"
    path = write_config(box, broker)
    text = path.read_text().replace(f'\n{missing} = "', f'\n{missing} = "/nowhere')
    path.write_text(text)
    with pytest.raises(LinkError, match="/nowhere"):
        client_context(load_config(path, {}).fleet, {})
    with AgentThread(path):
        wait_for((box / "state/log/box/checkpoints.jsonl").exists, "the start")
    assert (box / "state/log/box/checkpoints.jsonl").read_text()


def test_a_key_that_is_not_the_certificate_s_is_told(broker: Broker) -> None:
    mine, other = broker.credentials("box-a"), broker.credentials("box-b")
    fleet = FleetConfig(host="localhost", ca=mine.ca, certificate=mine.certificate, key=other.key)
    with pytest.raises(LinkError, match="belong together"):
        client_context(fleet, {})


def test_systemd_s_credential_wins_unless_it_is_empty(broker: Broker, tmp_path: Path) -> None:
    card = broker.credentials("box-a")
    (tmp_path / "fleet.key").write_bytes(card.key.read_bytes())
    fleet = FleetConfig(
        host="localhost", ca=card.ca, certificate=card.certificate, key=Path("/nowhere/fleet.key")
    )
    assert client_context(fleet, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is not None
    (tmp_path / "fleet.key").write_text("\n")
    with pytest.raises(LinkError, match="/nowhere"):
        client_context(fleet, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize("fleet", ["", "[fleet]\nhost = 'localhost'\ntls = 'off'\n"])
def test_veil_up_starts_the_agent_with_or_without_a_fleet(tmp_path: Path, fleet: str) -> None:
    path = tmp_path / "veil.toml"
    path.write_text(f"[camera.front]\nsource = '/dev/video9'\n{fleet}")
    (agent,) = [service for service in services(load_config(path, {})) if service.name == "agent"]
    assert agent.notifies
    assert list(agent.command[-3:]) == ["agent", "--config", str(path)]


def test_a_machine_without_anything_to_read_has_health_all_the_same(tmp_path: Path) -> None:
    config = load_config(None, {"VEIL_BOX__STATE_DIR": str(tmp_path / "not there yet")})
    health = Machine(config, tmp_path).look(1, 2)
    assert (health.cpu_percent, health.memory_total_mib) == (0.0, 0)
    assert health.disk_total_mib > 0
    real = Machine(config).look(1, 2)
    assert real.memory_total_mib > real.memory_used_mib > 0
    assert real.uptime_s > 0


def test_metrics_are_those_of_the_newest_health(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with AgentThread(
        write_config(tmp_path / "box", None, cameras="front", agent=f"prometheus_port = {port}")
    ):

        def page() -> str:
            try:
                with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    return str(answer.read().decode())
            except OSError:
                return ""

        wait_for(lambda: "veil_up 1" in page(), "health", 20)
        assert 'veil_camera_condition{camera="front",condition="stopped"} 1.0' in page()
