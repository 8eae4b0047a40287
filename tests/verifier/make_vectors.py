"""Writes the test vectors beside it: `PYTHONPATH=tests python -m verifier.make_vectors [FOLDER]`.

A vector is a folder: `log/` is verified, `anchor` (not in all) was kept elsewhere, `expected.json` says

    about     what was done
    call      key, anchor (file beside log/), complete, dir (if not log/); what is missing is not given
    exit      0, 10 or 2
    findings  those that must be reported: [code, log, line]; a list of codes, or null, where the page
              leaves it open
    also      codes that may follow from them
    warnings  codes
    logs      lines, signed, cosigned of each log (only in those that verify)
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verifier import honest, tampered
from verifier.vector import Vector

FOLDER = Path(__file__).parent / "vectors"


def main(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / ".gitattributes").write_text("* -text\n")  # the bytes are what is tested
    makers: dict[str, Callable[[], Vector]] = honest.VECTORS | tampered.VECTORS
    for name, make in makers.items():
        write(folder / name, make())


def write(folder: Path, vector: Vector) -> None:
    vector.box.write(folder / "log")
    if vector.anchor is not None:
        (folder / "anchor").write_bytes(vector.anchor)
    for change in vector.on_disk:
        change(folder / "log")
    expected: dict[str, Any] = {
        "about": vector.about,
        "call": vector.call,
        "exit": vector.exit,
        "findings": vector.findings,
        "also": vector.also,
        "warnings": vector.warnings,
    }
    if vector.exit == 0:
        expected["logs"] = {name: counts(log) for name, log in sorted(vector.box.logs.items())}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", "utf-8")


def counts(log: Any) -> dict[str, int]:
    cosigned = int(log.cosigned.split("\n")[1]) if log.cosigned else 0
    return {"events": len(log.lines), "signed": log.size, "cosigned": cosigned}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
