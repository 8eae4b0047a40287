"""The types themselves: mypy --strict refuses a raw frame wherever something leaves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ERROR = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$", re.MULTILINE)


def expected(path: Path) -> set[tuple[str, int, str]]:
    return {
        (path.name, number, marker[1])
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (marker := re.search(r"# refused: ([a-z-]+)$", line))
    }


def mypy(*paths: Path) -> tuple[set[tuple[str, int, str]], str]:
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    found = {(Path(m["file"]).name, int(m["line"]), m["code"]) for m in ERROR.finditer(result.stdout)}
    return found, result.stdout + result.stderr


def test_mypy_refuses_each_misuse_and_nothing_else() -> None:
    pytest.importorskip("mypy")
    snippets = sorted(HERE.glob("misuse*.py"))
    want = set().union(*map(expected, snippets))
    assert len(want) >= 15
    found, said = mypy(*snippets)
    assert found == want, said
