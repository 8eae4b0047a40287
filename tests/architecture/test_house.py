"""What the repository must and must not hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from veil import errors

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    """Files under version control; skips where this is no checkout."""
    try:
        result = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in result.stdout.split("\0") if name and (ROOT / name).is_file()]


def exit_codes() -> dict[str, int]:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    return {kind.__name__: kind.exit_code for kind in classes if issubclass(kind, errors.VeilError)}


def test_every_error_is_documented_with_its_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == exit_codes()


def test_no_file_is_large() -> None:
    sizes = {path.relative_to(ROOT): path.stat().st_size for path in tracked()}
    assert {str(path): size for path, size in sizes.items() if size > 4 << 20} == {}


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())  # type: ignore[index]
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    assert phony == explained


def test_scripts_can_be_executed() -> None:
    for name in ("run", "setup", "matrix"):
        assert (ROOT / ".ci" / name).stat().st_mode & 0o111, name


def test_the_packages_of_setup_are_explained() -> None:
    listed = re.search(r'^packages="(.*?)"$', (ROOT / ".ci/setup").read_text(), re.MULTILINE | re.DOTALL)
    assert listed
    text = (ROOT / "docs/install.md").read_text()
    for package in listed[1].split():
        assert package in text or f"-{package.rsplit('-', 1)[-1]}" in text, package
