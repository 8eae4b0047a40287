"""Which part may import which: the contracts of pyproject.toml hold, and would notice a breach."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "daemon" / "veil"
LEAVING = ("sinks", "encode", "agent", "audit", "rtsp_server")


def lint(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Import Linter over the package that lies in `folder`."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(folder)!r})\n"
            "from importlinter.cli import lint_imports\n"
            f"sys.exit(lint_imports(config_filename={str(config)!r}, no_cache=True))",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "veil", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    result = lint(ROOT / "pyproject.toml", ROOT / "daemon")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("encode/packet.py", "from veil.frames.raw import RawFrame", "What leaves the box"),
        ("sinks/__init__.py", "from veil.capture.source import Source", "What leaves the box"),
        ("sinks/__init__.py", "from veil.frames.pool import SlotPool", "What leaves the box"),
        # Over a third module, which nobody sees at the import itself.
        ("frames/picture.py", "import veil.frames.raw", "What leaves the box"),
        ("track/__init__.py", "from veil.frames.raw import RawFrame", "Only the way up to the masker"),
        ("domain/geometry.py", "from veil.errors import VeilError", "Dependencies point downwards"),
        ("frames/picture.py", "import veil.encode.packet", "Dependencies point downwards"),
        ("domain/geometry.py", "import socket", "The domain does no input or output"),
        ("rtsp_server/__init__.py", "import veil.frames.picture", "The RTSP server needs nothing"),
    ],
)
def test_a_breach_is_noticed(copy: Path, module: str, line: str, contract: str) -> None:
    source = copy / "veil" / module
    source.write_text(source.read_text() + f"\n{line}\n")
    result = lint(copy / "pyproject.toml", copy)
    assert result.returncode == 1
    broken = [said for said in result.stdout.splitlines() if " BROKEN" in said]
    assert any(said.startswith(contract) for said in broken), result.stdout


def test_every_part_that_leaves_the_box_is_under_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    door = next(contract for contract in contracts if contract["id"] == "closed-door")
    there = {f"veil.{name}" for name in LEAVING if (PACKAGE / name / "__init__.py").exists()}
    assert set(door["source_modules"]) == there
