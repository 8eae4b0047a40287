"""A program as a process of its own, to be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}


class Process:
    """A Python program, its output in `said`. Leaving it kills what still runs."""

    def __init__(self, said: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.said = said
        self._command = [sys.executable, "-m", *arguments]
        self._environment = {**os.environ, **ENVIRONMENT, **(environment or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        assert not self.running
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(self._command, stdout=said, stderr=said, env=self._environment)
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9; nothing where it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
