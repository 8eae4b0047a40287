"""A real Mosquitto with the configuration that `veil-fleet broker-config` writes, and certificates for it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from veil_fleet.broker import COLLECTOR, CONFIGURATION, IDENTITIES, OPERATOR, BrokerSettings
from veil_fleet.enrol import Enrolment, Site

HOST = "localhost"
MOSQUITTO = shutil.which("mosquitto") or next(
    (path for path in ("/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto") if Path(path).exists()), None
)
MISSING = "Mosquitto is not installed (Debian: mosquitto)"


def mosquitto_is_missing() -> bool:
    return MOSQUITTO is None


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 10.0) -> None:
    """Fails the test when `condition` does not come true."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s:g} s for {what}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Below the range of outgoing connections: a broker that is restarted finds its port free again."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client shows, as files (PEM). `name` is its user name at the broker."""

    name: str
    ca: Path
    certificate: Path
    key: Path

    def tls(self) -> ssl.SSLContext:
        """For paho's `tls_set_context`, aiomqtt's `tls_context` and plain sockets."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.certificate, self.key)
        return context


class Authority:
    """A fleet's folder (`veil-fleet init`) at `folder`, and certificates from it. Quickly made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.enrolment = Enrolment.create(folder, Site((HOST, "127.0.0.1")))
        self._devices: dict[str, Credentials] = {}

    def credentials(self, name: str) -> Credentials:
        """Of a box, which is enrolled where it was not, or of `fleet-collector`, `fleet-operator`, …"""
        if name in IDENTITIES:
            return Credentials(
                name, self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key"
            )
        if name not in self._devices:
            enrolled = self.enrolment.enrol(name)
            assert enrolled.key is not None
            self._devices[name] = self._write(name, enrolled.certificate.pem, enrolled.key)
        return self._devices[name]

    def renewed(self, name: str) -> Credentials:
        """Another certificate for a box; the one before stays what `credentials` gives."""
        enrolled = self.enrolment.renew(name)
        assert enrolled.key is not None
        return self._write(f"{name}.{enrolled.certificate.serial}", enrolled.certificate.pem, enrolled.key)

    def _write(self, name: str, certificate: bytes, key: bytes) -> Credentials:
        return write_credentials(self.folder / "boxes", name, self.folder / "ca.pem", certificate, key)


def write_credentials(folder: Path, name: str, ca: Path, certificate: bytes, key: bytes) -> Credentials:
    folder.mkdir(exist_ok=True)
    made = Credentials(name.split(".", maxsplit=1)[0], ca, folder / f"{name}.pem", folder / f"{name}.key")
    made.certificate.write_bytes(certificate)
    made.key.touch(0o600)
    made.key.write_bytes(key)
    return made


@dataclass
class Broker:
    """A broker at `folder`, which keeps its database and ports over `stop`, `kill` and `restart`.

    Boxes connect to `port`, `fleet-…` to `fleet_port`, both with TLS to `HOST`. With `plain`, there is a
    third listener on `plain_port`, 127.0.0.1, for load: no TLS, no access list, any client id.

    `log` is the broker's output, `settings` are those of veil_fleet.broker.BrokerSettings.
    """

    folder: Path
    authority: Authority | None = None
    plain: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    host: str = HOST
    port: int = 0
    fleet_port: int = 0
    plain_port: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.authority or Authority(self.folder / "fleet")
        self.log = self.folder / "mosquitto.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for attempt in range(5):
            self._configure()
            try:
                self.start()
            except BrokerStartError:
                # Another process may have taken a port since it was found free.
                if attempt == 4 or "in use" not in self.log.read_text():
                    raise
            else:
                return self
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def credentials(self, name: str) -> Credentials:
        return self.ca.credentials(name)

    @property
    def collector(self) -> Credentials:
        return self.credentials(COLLECTOR)

    @property
    def operator(self) -> Credentials:
        return self.credentials(OPERATOR)

    def port_of(self, name: str) -> int:
        """Where a client of this name connects."""
        return self.fleet_port if name in IDENTITIES else self.port

    def start(self) -> None:
        """Returns once the broker accepts connections."""
        assert self.process is None, "it runs already"
        assert MOSQUITTO is not None, MISSING
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [MOSQUITTO, "-c", str(self._target / CONFIGURATION)], stdout=log, stderr=log
            )
        end = time.monotonic() + 20
        while not all(_accepts(port) for port in self._ports):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise BrokerStartError(self.log.read_text()[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """As systemd does: the database is written."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9; nothing when it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """It hangs, connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """SIGHUP: access lists and certificates are read again."""
        self._signal(signal.SIGHUP)
        time.sleep(0.2)

    def save(self) -> None:
        """SIGUSR1: writes the database now."""
        before = self._saved_ns()
        self._signal(signal.SIGUSR1)
        wait_for(lambda: self._saved_ns() > before, "the broker's database")

    @property
    def _target(self) -> Path:
        return self.ca.folder / "broker"

    @property
    def _ports(self) -> list[int]:
        return [self.port, self.fleet_port, *([self.plain_port] if self.plain else [])]

    def _saved_ns(self) -> int:
        database = self.folder / "data" / "veil.db"
        return database.stat().st_mtime_ns if database.exists() else 0

    def _configure(self) -> None:
        self.port, self.fleet_port, self.plain_port = free_ports(3)
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        given: dict[str, Any] = {
            "address": "127.0.0.1",
            "fleet_address": "127.0.0.1",
            "autosave_s": 1,
            "user": "root" if os.geteuid() == 0 else "",
            **self.settings,
        }
        settings = BrokerSettings(self._target, data, self.port, self.fleet_port, **given)
        self.ca.enrolment.write_broker(settings)
        if self.plain:
            with (self._target / CONFIGURATION).open("a") as file:
                file.write(f"\nlistener {self.plain_port} 127.0.0.1\nallow_anonymous true\n")

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        if number is signal.SIGTERM:
            self.process.send_signal(signal.SIGCONT)
        self.process.wait(20)
        self.process = None


class BrokerStartError(AssertionError):
    """Its output."""


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
