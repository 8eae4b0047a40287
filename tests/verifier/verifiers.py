"""The two verifiers as programs: the one in docs/verifier (Node) and the product's (`veil log verify`)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
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
    return _run(("node", str(VERIFY)), args, text)


def run_python(*args: str) -> subprocess.CompletedProcess[str]:
    return _run(PYTHON, args, None)


def _run(command: Sequence[str], args: Sequence[str], text: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *args], input=text, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


def node_answers(calls: Sequence[Call]) -> Answers:
    """All calls in one process, through its standard input."""
    ran = run_node("-", text="".join(json.dumps(dict(call)) + "\n" for call in calls))
    assert ran.stderr == ""
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [answer["dir"] for answer in answers] == [call["dir"] for call in calls]
    return [None if "error" in answer else answer for answer in answers]


def python_answers(calls: Sequence[Call]) -> Answers:
    """The calls of the same options in one process; one that it does not take, alone."""
    together: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    answers: Answers = [None] * len(calls)
    for i, call in enumerate(calls):
        together[_options(call)].append(i)
    for options, members in together.items():
        dirs = [str(calls[i]["dir"]) for i in members]
        ran = run_python("--json", *options, *dirs)
        assert "Traceback" not in ran.stderr, ran.stderr
        if ran.returncode == 2 and len(members) > 1:
            for i in members:
                answers[i] = python_answers([calls[i]])[0]
        elif ran.returncode != 2:
            found = [json.loads(line) for line in ran.stdout.splitlines()]
            assert [answer["dir"] for answer in found] == dirs, ran.stderr
            for i, answer in zip(members, found, strict=True):
                answers[i] = answer
    return answers


def _options(call: Call) -> tuple[str, ...]:
    options: list[str] = []
    for name in ("key", "anchor"):
        if call.get(name) is not None:
            options += [f"--{name}", str(call[name])]
    return (*options, *(["--complete"] if call.get("complete") else []))


VERIFIERS: dict[str, tuple[Callable[[], str | None], Callable[[Sequence[Call]], Answers]]] = {
    "node": (node_missing, node_answers),
    "python": (python_missing, python_answers),
}
