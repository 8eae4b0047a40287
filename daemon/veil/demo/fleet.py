"""The demo's fleet: Mosquitto and the fleet manager on this machine, and one box enrolled with them."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from veil.demo.ports import free_port
from veil.supervise import Service

_SETUP_S: Final = 60.0
_USERS: Final = {"demo": "operator", "auditor": "auditor"}
_MOSQUITTO: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/bin")


@dataclass(frozen=True, slots=True)
class DemoFleet:
    """What runs beside the box, and what the box has to know of it.

    Attributes:
        services: the broker and the fleet manager.
        environ: of the box: its `[fleet]` as `veil-fleet enroll` wrote it, with the files' places here.
        page_port: of the fleet's page, on loopback.
        lines: for people.
    """

    services: Sequence[Service]
    environ: Mapping[str, str]
    page_port: int
    lines: Sequence[str]


class FleetSetup:
    """Makes a DemoFleet in `folder` while the caller does something else. A context manager.

    What an earlier demo left there is used again: the boxes' evidence goes on where it ended.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._folder = folder
        self._device = device
        self._broker = mosquitto()
        self._password = secrets.token_urlsafe(12)
        self._port, self._fleet_port = free_port(8883), free_port(8884)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> FleetSetup:
        if self._broker is None:
            return self
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        users = [part for name, role in _USERS.items() for part in ("--user", f"{name}={role}")]
        arguments = ["--port", str(self._port), "--fleet-port", str(self._fleet_port), *users]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "veil.demo.fleet_setup", str(self._folder), self._device, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def finish(self) -> DemoFleet | str:
        """Waits for it. A text: why there is none."""
        if self._process is None or self._broker is None:
            return "Mosquitto is not installed (Debian: mosquitto)"
        try:
            said, _ = self._process.communicate(self._password + "\n", timeout=_SETUP_S)
        except subprocess.TimeoutExpired:
            return f"it could not be set up within {_SETUP_S:g} s"
        if self._process.returncode:
            told = said.strip().splitlines()
            return told[-1] if told else f"its setup ended with {self._process.returncode}"
        page_port = free_port(8600)
        return DemoFleet(
            services=[self._broker_service(self._broker), self._manager_service(page_port)],
            environ=self._box_environ(),
            page_port=page_port,
            lines=[
                f"fleet page: http://127.0.0.1:{page_port}/",
                f"  sign in as {' or '.join(_USERS)}, password {self._password}",
                f"commands: {self._command_line()} ping",
            ],
        )

    def _command_line(self) -> str:
        """Of `veil-fleet command`; the settings keep the port of the first demo in this folder."""
        settings = self._folder / "fleet.toml"
        kept = tomllib.loads(settings.read_text())["broker"]["port"]
        environ = "" if kept == self._fleet_port else f"VEIL_FLEET_BROKER__PORT={self._fleet_port} "
        program = Path(sys.executable).with_name("veil-fleet")
        return f"{environ}{program} command --config {settings} {self._device}"

    def _broker_service(self, program: str) -> Service:
        command = [program, "-c", str(self._folder / "broker" / "mosquitto.conf")]
        return Service("broker", _leashed(command, self._folder / "mosquitto.log"), notifies=False)

    def _manager_service(self, page_port: int) -> Service:
        command = [sys.executable, "-m", "veil_fleet.cli", "serve"]
        environ = {
            "VEIL_FLEET_CONFIG": str(self._folder / "fleet.toml"),
            "VEIL_FLEET_BROKER__PORT": str(self._fleet_port),
            "VEIL_FLEET_WEB__PORT": str(page_port),
        }
        log = self._folder / "veil-fleet.log"
        return Service("fleet manager", _leashed(command, log), notifies=False, environ=environ)

    def _box_environ(self) -> dict[str, str]:
        box = self._folder / "box"
        written = tomllib.loads((box / "fleet.toml").read_text())["fleet"]
        values = written | {
            "port": self._port,
            "ca": box / "ca.pem",
            "certificate": box / "device.pem",
            "key": box / "device.key",
        }
        return {
            f"VEIL_FLEET__{key.upper()}": json.dumps(value) if isinstance(value, list) else str(value)
            for key, value in values.items()
        }

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def mosquitto() -> str | None:
    """Its program; Debian keeps it where users' PATH does not lead."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(_MOSQUITTO))


def _leashed(command: Sequence[str], log: Path) -> list[str]:
    """Ends with the demo, whatever ends that; says what it has to say in a file."""
    script = 'log=$1; shift; exec "$@" >>"$log" 2>&1'
    return [sys.executable, "-m", "veil.host.leash", "/bin/sh", "-c", script, "sh", str(log), *command]
