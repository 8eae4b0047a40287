"""Tells systemd how a service is doing: sd_notify(3), and nothing at all without a supervisor."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Mapping
from types import ModuleType

_systemd: ModuleType | None
try:
    # By name at run time: type checkers take the repository's folder systemd/ for the package.
    _systemd = importlib.import_module("systemd.daemon")
except ImportError:
    _systemd = None

MICROSECONDS = 1_000_000


class Supervisor:
    """The service manager that started this process, if one did.

    Args:
        environ: read once; `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` count.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._send: Callable[[str], None] = _sender(environ)
        self._watchdog_s = _watchdog_timeout_s(environ)

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often to call `watchdog`: half of what systemd waits. None when it does not wait."""
        return None if self._watchdog_s is None else self._watchdog_s / 2

    def ready(self) -> None:
        """The service does its work now: the first masked frame is out."""
        self._send("READY=1")

    def watchdog(self) -> None:
        """Still alive; only to be said by a loop that has seen frames or a clean reconnect go by."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`, without credentials."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        self._send("STOPPING=1")


def _watchdog_timeout_s(environ: Mapping[str, str]) -> float | None:
    timeout = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", "")
    if not timeout.isdigit() or int(timeout) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(timeout) / MICROSECONDS


def _sender(environ: Mapping[str, str]) -> Callable[[str], None]:
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return lambda _message: None
    # libsystemd looks into the process's own environment and nowhere else.
    if _systemd is not None and os.environ.get("NOTIFY_SOCKET") == address:
        notify = _systemd.notify

        def send_by_library(message: str) -> None:
            notify(message)

        return send_by_library

    name = "\0" + address[1:] if address.startswith("@") else address

    def send(message: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(message.encode(), name)

    return send
