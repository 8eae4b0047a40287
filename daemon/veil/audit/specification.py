"""docs/log-format.md, wherever this program was installed from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from veil.errors import EvidenceError


def specification() -> str:
    """The text. Raises EvidenceError where it was not installed."""
    packaged = files("veil").joinpath("audit", "log-format.md")
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    try:
        return (Path(__file__).resolve().parents[3] / "docs" / "log-format.md").read_text(encoding="utf-8")
    except OSError as error:
        raise EvidenceError("The format's page is not installed with this program.") from error
