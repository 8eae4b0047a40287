"""Keeps child processes running for `veil up`. On a box, systemd does this."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

WATCHDOG_S = 10.0
_START_S = 60.0
_STOP_S = 10.0
_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_HEALTHY_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A command to keep running.

    Attributes:
        notifies: it says READY=1 and WATCHDOG=1 as to systemd; silence for WATCHDOG_S ends it.
        environ: added to this process's environment.
    """

    name: str
    command: Sequence[str]
    notifies: bool
    environ: Mapping[str, str] = field(default_factory=dict)


class _Child:
    """One service: its process now, and how it has been doing."""

    def __init__(self, service: Service, notify_socket: str, say: Callable[[str], None]) -> None:
        self.service = service
        self._say = say
        self._notify_socket = notify_socket
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._heard = 0.0
        self._ready = False
        self._failures = 0
        self._next_start = 0.0
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def heard(self, message: str, now: float) -> None:
        self._heard = now
        if "READY=1" in message:
            self._ready = True

    def step(self, now: float) -> None:
        """Starts, restarts or ends the process as it needs."""
        process = self._process
        if process is None:
            if now >= self._next_start:
                self._start(now)
            return
        code = process.poll()
        if code is not None:
            self._process = None
            if now - self._started > _HEALTHY_S:
                self._failures = 0
            pause = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            self._failures += 1
            self.restarts += 1
            self._next_start = now + pause
            self._say(f"{self.service.name} ended with {code}; again in {pause:g} s")
            return
        if self.service.notifies:
            patience = WATCHDOG_S if self._ready else _START_S
            if now - max(self._heard, self._started) > patience:
                self._say(f"{self.service.name} has been silent for {patience:g} s; killed")
                self.kill()

    def _start(self, now: float) -> None:
        environ = {**os.environ, **self.service.environ, "VEIL_DIES_WITH": str(os.getpid())}
        if self.service.notifies:
            environ["NOTIFY_SOCKET"] = self._notify_socket
            environ["WATCHDOG_USEC"] = str(int(WATCHDOG_S * 1_000_000))
        self._process = subprocess.Popen(
            self.service.command, env=environ, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._started = now
        self._ready = False

    def terminate(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """The whole process group; SIGKILL also ends a stopped process."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def gone(self) -> bool:
        return self._process is None or self._process.poll() is not None


class Supervision:
    """A context manager that runs services until it is left; then all of them are ended."""

    def __init__(self, services: Sequence[Service], say: Callable[[str], None] | None = None) -> None:
        self._say = say or (lambda text: print(text, file=sys.stderr, flush=True))
        self._services = services
        self._children: list[_Child] = []
        self._scope = contextlib.ExitStack()

    def __enter__(self) -> Supervision:
        folder = self._scope.enter_context(tempfile.TemporaryDirectory(prefix="veil-up-"))
        path = str(Path(folder) / "notify")
        self._socket = self._scope.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(path)
        self._children = [_Child(service, path, self._say) for service in self._services]
        return self

    def run(self, until: Callable[[], bool]) -> None:
        """Looks after the services until `until()` is true, four times a second or oftener."""
        while not until():
            self.step(0.25)

    def step(self, wait_s: float) -> None:
        self._listen(wait_s)
        now = time.monotonic()
        for child in self._children:
            child.step(now)

    def pids(self) -> Mapping[str, int]:
        """Of the services that run now."""
        return {child.service.name: child.pid for child in self._children if child.pid is not None}

    def restarts(self) -> Mapping[str, int]:
        return {child.service.name: child.restarts for child in self._children}

    def _listen(self, wait_s: float) -> None:
        self._socket.settimeout(wait_s)
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                message, credentials, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            except TimeoutError:
                return
            pid = next((int.from_bytes(data[:4], sys.byteorder) for _, _, data in credentials), 0)
            for child in self._children:
                if child.pid == pid:
                    child.heard(message.decode(errors="replace"), time.monotonic())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + _STOP_S
        while time.monotonic() < deadline and not all(child.gone() for child in self._children):
            time.sleep(0.05)
        for child in self._children:
            child.kill()
        self._scope.close()
