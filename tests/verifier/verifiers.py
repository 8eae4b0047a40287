"""The two verifiers as programs: the one in docs/verifier (Node) and the product's (`veil log verify`)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VERIFY = ROOT / "docs" / "verifier" / "verify.mjs"
PYTHON = (sys.executable, "-m", "veil.cli", "log", "verify")
Call = Mapping[str, Any]
Answers = list[dict[str, Any] | None]  # None: the call could not be taken


def node_missing() -> str | None:
    """Why the verifier in docs/verifier cannot run here."""
    node = shutil.which("node")
    if node is None:
        return "node is not installed"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return (
        None if int(version.lstrip("v").split(".")[0]) >= 18 else f"node {version.strip()} is older than 18"
    )


@cache
def python_missing() -> str | None:
    """Why the product's verifier cannot run here."""
    ran = subprocess.run([*PYTHON, "--help"], capture_output=True, check=False)
    return None if ran.returncode == 0 else "veil has no command `log verify`"


def run_node(*args: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", str(VERIFY), *args],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )


def node_answers(calls: Sequence[Call]) -> Answers:
    """All calls in one process, through its standard input."""
    ran = run_node("-", text="".join(json.dumps(dict(call)) + "\n" for call in calls))
    assert ran.stderr == ""
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [answer["dir"] for answer in answers] == [call["dir"] for call in calls]
    return [None if "error" in answer else answer for answer in answers]


def python_answers(calls: Sequence[Call]) -> Answers:
    """All calls through the command's own entry, in one process: Python starts too slowly for one each."""
    ran = subprocess.run(
        [sys.executable, "-c", _COMMANDS],
        input="".join(json.dumps(["log", "verify", *_arguments(call)]) + "\n" for call in calls),
        capture_output=True,
        encoding="utf-8",
        timeout=3600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answers: Answers = []
    for line, call in zip(ran.stdout.splitlines(), calls, strict=True):
        code, written = json.loads(line)
        answer = json.loads(written) if code in {0, 10} else None
        assert code in {0, 2, 10}, (call, code, written)
        assert answer is None or answer["ok"] == (code == 0), (call, code)
        answers.append(answer)
    return answers


_COMMANDS = """
import contextlib, io, json, sys
from typer.main import get_command
from veil.cli import app
from veil.errors import VeilError
command = get_command(app)  # once: to build it takes longer than to verify a small folder
for line in sys.stdin:
    code, out = 0, io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            command(json.loads(line))
        except SystemExit as error:
            code = error.code
        except VeilError as error:
            code = error.exit_code
    print(json.dumps([code or 0, out.getvalue()]), flush=True)
"""


def _arguments(call: Call) -> list[str]:
    options = ["--json"]
    for name in ("key", "anchor"):
        if call.get(name) is not None:
            options += [f"--{name}", str(call[name])]
    return [*options, *(["--complete"] if call.get("complete") else []), "--", str(call["dir"])]


VERIFIERS: dict[str, tuple[Callable[[], str | None], Callable[[Sequence[Call]], Answers]]] = {
    "node": (node_missing, node_answers),
    "python": (python_missing, python_answers),
}
