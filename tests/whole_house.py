"""A fleet in real processes: Mosquitto, `veil-fleet serve` on SQLite, boxes with `veil agent` and cameras.

Each process is this house's own: killed, stopped and started as a test wants. Nothing outlives it.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from sqlalchemy import Connection, create_engine, select

import veil
from fleet_house import Authority, Broker, free_ports, wait_for
from veil.config import Config
from veil.config_load import load_config
from veil.demo.ports import answers
from veil.errors import UsageError
from veil.messages.health import CameraCondition, Health
from veil_fleet.cli import app
from veil_fleet.enrol import Enrolment, Site
from veil_fleet.store.queries import Liveness, status_of
from veil_fleet.store.tables import Alarm, Device, LogLine, Segment
from veil_fleet.store.tables import Log as LogRow

PASSWORD = "a long enough password"
PACKAGES = Path(veil.__file__).resolve().parent.parent
TESTS = Path(__file__).resolve().parent


class Program:
    """One program that is started as often as wanted; what it says is in `said`.

    Args:
        prefix: in front of the command, such as `ip netns exec NAME`.
    """

    def __init__(
        self,
        command: Sequence[str],
        said: Path,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        # Ends with the tests, whatever ends these.
        self._command = [sys.executable, "-m", "veil.host.leash", *prefix, *command]
        self._environ = dict(environ or {})
        self.said = said
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        assert not self.runs, "it runs already"
        path = os.pathsep.join((str(PACKAGES), str(TESTS), *sys.path))
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={
                    **os.environ,
                    "PYTHONPATH": path,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "VEIL_DIES_WITH": str(os.getpid()),
                    **self._environ,
                },
                start_new_session=True,
            )
        return self

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """To it and what it started."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """kill -9; nothing where it does not run."""
        if self.runs:
            assert self.process is not None
            self.send(signal.SIGKILL)
            self.process.wait(10)

    def stop(self, limit_s: float = 30) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(limit_s)

    def tail(self) -> str:
        return self.said.read_text(errors="replace")[-2500:] if self.said.exists() else ""


def run(command: Sequence[str], environ: Mapping[str, str] | None = None, limit_s: float = 120) -> str:
    """A command that has to succeed; what it printed."""
    done = run_any(command, environ, limit_s)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def run_any(
    command: Sequence[str], environ: Mapping[str, str] | None = None, limit_s: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
        env={**os.environ, **(environ or {})},
    )


VEIL = (sys.executable, "-m", "veil.cli")
VEIL_FLEET = (sys.executable, "-m", "veil_fleet.cli")


@dataclass
class Box:
    """One enrolled box at `folder`. Its programs are started one by one.

    Attributes:
        cameras: sources by name.
        prefix: in front of each of its programs.
    """

    name: str
    folder: Path
    config_path: Path
    prefix: Sequence[str] = ()
    cameras: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    oracle: bool = True

    def __post_init__(self) -> None:
        self.config: Config = load_config(self.config_path, {})
        config = ["--config", str(self.config_path)]
        self.agent = Program([*VEIL, "agent", *config], self.folder / "agent.txt", self.environ, self.prefix)
        self.programs = {"agent": self.agent}
        for camera in self.cameras:
            # As shipped, but with a detector that knows where the markers are: cheap, and nothing is missed.
            command = [sys.executable, "-m", "privacy.oracle_camera", str(self.config_path), camera]
            if not self.oracle:
                command = [*VEIL, "camera", camera, *config]
            self.programs[camera] = Program(command, self.folder / f"{camera}.txt", self.environ, self.prefix)

    @property
    def log(self) -> Path:
        return self.config.box.state_dir / "log"

    def events(self, log: str, kind: str = "") -> list[dict[str, Any]]:
        """Of one kind, or all."""
        path = self.log / log / "events.jsonl"
        if not path.exists():
            return []
        lines = path.read_bytes().split(b"\n")[:-1]
        found = [json.loads(line) for line in lines]
        return [event for event in found if not kind or event["kind"] == kind]

    def start(self) -> None:
        for program in self.programs.values():
            if not program.runs:
                program.start()

    def kill(self) -> None:
        """What a power cut does to its processes."""
        for program in self.programs.values():
            program.kill()


class WholeHouse:
    """A context manager: broker and fleet manager run inside.

    Args:
        hosts: further names of the broker, in its certificate.
        broker: settings of it.
    """

    def __init__(
        self, root: Path, hosts: Sequence[str] = (), broker: Mapping[str, Any] | None = None
    ) -> None:
        self.root = root
        self._scope = ExitStack()
        authority = _authority(root / "fleet", hosts)
        self.broker = Broker(root / "broker", authority, settings=dict(broker or {}))
        self.folder = authority.folder
        self.boxes: dict[str, Box] = {}
        self.page_port = 0

    def __enter__(self) -> Self:
        with ExitStack() as scope:
            scope.enter_context(self.broker)
            (self.page_port,) = free_ports(1)
            self.environ = {
                "VEIL_FLEET_CONFIG": str(self.folder / "fleet.toml"),
                "VEIL_FLEET_WEB__PORT": str(self.page_port),
            }
            self.manager = Program([*VEIL_FLEET, "serve"], self.root / "serve.txt", self.environ)
            scope.callback(self.manager.kill)
            scope.callback(self._kill_boxes)
            # As broker-config asks for where its ports are other ones.
            settings = self.folder / "fleet.toml"
            settings.write_text(settings.read_text().replace("8884", str(self.broker.fleet_port)))
            self._ask("migrate", *self._settings)
            self._engine = create_engine(f"sqlite:///{self.folder / 'fleet.db'}")
            scope.callback(self._engine.dispose)
            self._scope = scope.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.close()

    def _kill_boxes(self) -> None:
        for box in self.boxes.values():
            box.kill()

    def enroll(
        self,
        name: str,
        *,
        cameras: Mapping[str, str] | None = None,
        host: str = "localhost",
        prefix: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        sections: str = "",
        oracle: bool = True,
        rtsp: str = "enabled = false",
    ) -> Box:
        """`veil-fleet enroll`, and the box's folder with its configuration. `sections`: more of it."""
        folder = self.root / "boxes" / name
        files = folder / "enrolled"
        self._ask("enroll", name, "--site", "test site", "--out", str(files), *self._settings)
        text = (files / "fleet.toml").read_text()
        text = text.replace("/etc/veil/fleet/", f"{files}/").replace(
            "/etc/veil/secrets/fleet.key", f"{files}/device.key"
        )
        text = text.replace('host = "localhost"', f'host = "{host}"')
        places = f'state_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
        text = text.replace("[fleet]", f"{places}\n[rtsp]\n{rtsp}\n\n[fleet]", 1)
        for camera, source in (cameras or {}).items():
            sections += f'\n[camera.{camera}]\nsource = "{source}"\n'
        path = folder / "veil.toml"
        path.write_text(f"{text}\n{_AGENT}\n{sections}")
        box = Box(name, folder, path, prefix, dict(cameras or {}), dict(environ or {}), oracle)
        self.boxes[name] = box
        return box

    def _ask(self, *arguments: str, text: str = "") -> str:
        """A command of `veil-fleet` in this process: the libraries of a new one take seconds to load."""
        before, said = sys.stdin, io.StringIO()
        sys.stdin = io.StringIO(text)
        try:
            with redirect_stdout(said):
                app(list(arguments), standalone_mode=False)
        finally:
            sys.stdin = before
        return said.getvalue()

    @property
    def _settings(self) -> tuple[str, str]:
        return "--config", str(self.folder / "fleet.toml")

    def ask_box(self, device: str, *arguments: str) -> str:
        """`veil-fleet command DEVICE …`, in this process. Raises VeilError."""
        return self._ask("command", *self._settings, device, *arguments)

    def veil_fleet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_any([*VEIL_FLEET, *arguments], self.environ)

    def command(self, device: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.veil_fleet("command", device, *arguments)

    def connect(self) -> Connection:
        """To the store, for reading; a context manager."""
        return self._engine.connect()

    def liveness(self, device: str) -> Liveness:
        """As the fleet manager sees it now."""
        columns = (
            Device.status_state, Device.status_reason, Device.status_ms, Device.status_expires_s,
        )  # fmt: skip
        with self.connect() as connection:
            row = connection.execute(select(*columns).where(Device.name == device)).one_or_none()
        return Liveness.NEVER if row is None else status_of(row, time.time_ns() // 1_000_000)

    def heard_ms(self, device: str) -> int:
        """When the box's status was said, POSIX milliseconds; 0: never."""
        with self.connect() as connection:
            return int(
                connection.execute(select(Device.status_ms).where(Device.name == device)).scalar_one() or 0
            )

    def health(self, device: str) -> Health | None:
        """The newest that the fleet manager stored."""
        with self.connect() as connection:
            text = connection.execute(select(Device.health).where(Device.name == device)).scalar_one()
        return None if text is None else Health.decode(text.encode())

    def condition(self, device: str, camera: str) -> CameraCondition | None:
        """Of a camera, by the box's newest health."""
        health = self.health(device)
        told = health.cameras.get(camera) if health is not None else None
        return told.condition if told is not None else None

    def camera_state(self, device: str, camera: str) -> str:
        """Of a camera, by the state that the box told of at its change."""
        with self.connect() as connection:
            text = connection.execute(select(Device.camera_states).where(Device.name == device)).scalar_one()
        return str(json.loads(text).get(camera, {}).get("condition", ""))

    def logs(self, device: str) -> dict[str, Any]:
        """Rows of `logs` by name."""
        with self.connect() as connection:
            rows = connection.execute(select(*LogRow.__table__.columns).where(LogRow.device == device)).all()
        return {row.name: row for row in rows}

    def lines(self, device: str, log: str) -> list[str]:
        """What is stored, in order."""
        query = select(LogLine.line).where(LogLine.device == device, LogLine.log == log).order_by(LogLine.seq)
        with self.connect() as connection:
            return list(connection.execute(query).scalars())

    def segments(self, device: str) -> list[Any]:
        """Rows of `segments`, in their order."""
        columns = Segment.__table__.columns
        query = select(*columns).where(Segment.device == device).order_by(Segment.camera, Segment.seq)
        with self.connect() as connection:
            return list(connection.execute(query).all())

    def alarms(self) -> list[tuple[str, str, str]]:
        """Device, kind and text of all, closed ones too."""
        with self.connect() as connection:
            return [tuple(row) for row in connection.execute(select(Alarm.device, Alarm.kind, Alarm.text))]

    def wait_online(self, *devices: str, limit_s: float = 60) -> None:
        for device in devices:
            wait_for(
                lambda device=device: self.liveness(device) is Liveness.ONLINE, f"{device} online", limit_s
            )  # type: ignore[misc]

    def wait_cosigned(self, box: Box, limit_s: float = 60) -> None:
        """Until every line that the box has written is cosigned, in the store and by its receipt."""
        wait_for(lambda: self.is_cosigned(box), f"all of {box.name} cosigned", limit_s)

    def wait_cosigned_except_new(self, box: Box, limit_s: float = 60) -> None:
        """Until every line that the box has written by now is cosigned; it may write on."""
        written = {
            path.parent.name: path.read_bytes().count(b"\n") for path in box.log.glob("*/events.jsonl")
        }

        def are_cosigned() -> bool:
            rows = self.logs(box.name)
            return all(name in rows and rows[name].cosigned_size >= size for name, size in written.items())

        wait_for(are_cosigned, f"{written} cosigned", limit_s)

    def is_cosigned(self, box: Box) -> bool:
        rows = self.logs(box.name)
        for folder in box.log.iterdir():
            if not (folder / "events.jsonl").exists():
                continue
            written = (folder / "events.jsonl").read_bytes().count(b"\n")
            receipt = folder / "cosigned"
            row = rows.get(folder.name)
            if row is None or row.cosigned_size != written or not receipt.exists():
                return False
            if int(receipt.read_text().splitlines()[1]) != written:
                return False
        return True

    @contextmanager
    def page(self, role: str = "auditor") -> Iterator[httpx.Client]:
        """A browser that is signed in, once the page answers."""
        wait_for(lambda: answers(self.page_port), "the page", 60)
        with suppress(UsageError):
            self._ask("user", "add", role, "--role", role, *self._settings, text=PASSWORD + "\n")
        base = f"http://127.0.0.1:{self.page_port}"
        with httpx.Client(base_url=base, follow_redirects=True, timeout=30) as client:
            _sign_in(client, role)
            yield client

    def tails(self) -> str:
        """What the processes said last, for a test that failed."""
        programs = {"serve": self.manager} | {
            f"{name} {program}": made
            for name, box in self.boxes.items()
            for program, made in box.programs.items()
        }
        return "\n".join(f"== {name}\n{program.tail()}" for name, program in programs.items())


_AGENT = """\
[agent]
health_every_s = 5
checkpoint_every_s = 2
"""


def _sign_in(client: httpx.Client, name: str) -> None:
    token = re.search(r'name="token" value="([^"]+)"', client.get("/login").text)
    assert token
    data = {"name": name, "password": PASSWORD, "token": token[1], "next": "/"}
    answer = client.post("/login", data=data)
    assert answer.status_code == 200, answer.text


def shown(client: httpx.Client, path: str, place: str) -> str:
    """The state of one place of a page, as people see it in colour."""
    answer = client.get(path)
    if answer.url.path == "/login":
        # The fleet manager was started again: sessions are over.
        _sign_in(client, "auditor")
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found = re.search(rf'data-live="{re.escape(place)}" data-state="([^"]*)"', answer.text)
    assert found, f"{path} shows no {place}"
    return found[1]


class _NamedAuthority(Authority):
    """An authority whose broker has further names."""

    def __init__(self, folder: Path, hosts: Sequence[str]) -> None:
        super().__init__(folder)
        if hosts:
            site = Site(("localhost", "127.0.0.1", *hosts))
            self.enrolment = Enrolment(folder, site)
            self.enrolment.renew_identity("broker")


def _authority(folder: Path, hosts: Sequence[str]) -> Authority:
    return _NamedAuthority(folder, hosts)


def until(condition: Callable[[], bool], limit_s: float) -> float | None:
    """How long it took, in seconds; None where it did not come true."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > limit_s:
            return None
        time.sleep(0.1)
    return time.monotonic() - begun
