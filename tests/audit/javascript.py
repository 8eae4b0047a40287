"""The second verifier (docs/verifier, JavaScript), kept running for many folders."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = Path(__file__).parents[2] / "docs" / "verifier" / "verify.mjs"
NODE = shutil.which("node")


class JavaScriptVerifier:
    """A context manager: one process, asked by lines."""

    def __enter__(self) -> JavaScriptVerifier:
        assert NODE is not None
        self._process = subprocess.Popen(
            [NODE, str(PROGRAM), "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def ask(
        self, folder: Path, key: str | None = None, anchor: Path | None = None, *, complete: bool = False
    ) -> None:
        """It works while the caller does something else; `answer` says what it found."""
        asked = {
            "dir": str(folder),
            "key": key,
            "anchor": None if anchor is None else str(anchor),
            "complete": complete,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def verify(
        self, folder: Path, key: str | None = None, anchor: Path | None = None, *, complete: bool = False
    ) -> dict[str, Any]:
        self.ask(folder, key, anchor, complete=complete)
        return self.answer()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=30)
