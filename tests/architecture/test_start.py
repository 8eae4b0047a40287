"""Help and errors of a call come at once: they load nothing that works on pictures, keys or databases.

So does an input that is not there.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "aiomqtt", "alembic", "argon2", "av", "cryptography", "cv2", "fastapi", "numpy", "onnxruntime", "paho",
    "pydantic_settings", "sqlalchemy", "uvicorn",
}  # fmt: skip
# pydantic itself is loaded by typer.
_CALL = """
import json, sys
from importlib import import_module
app = import_module(sys.argv[1]).app
try:
    app(json.loads(sys.argv[2]))
except SystemExit as error:
    code = error.code
except Exception as error:
    code = getattr(error, "message", repr(error))
print("\\n" + json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        ("veil.cli", ["--help"], 0),
        ("veil.cli", ["nonsense"], 2),
        ("veil.cli", ["camera"], 2),
        ("veil.cli", ["anonymize", "/nowhere/in.mp4", "out.mp4"], "/nowhere/in.mp4 does not exist."),
        ("veil.cli", ["detect", "/nowhere", "--out", "out.json"], "/nowhere does not exist."),
        ("veil.cli", ["detect", "/nowhere", "--out", "out.json", "--size", "big"], "'big' is no size."),
        ("veil.cli", ["log", "verify", "--help"], 0),
        ("veil_fleet.cli", ["--help"], 0),
        ("veil_fleet.cli", ["enroll"], 2),
        ("veil_fleet.cli", ["user", "add", "ada", "--role", "nobody"], 2),
    ],
)
def test_help_and_wrong_calls_load_nothing_heavy(module: str, arguments: list[str], code: int | str) -> None:
    command = [sys.executable, "-c", _CALL, module, json.dumps(arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    told, modules = json.loads(ran.stdout.splitlines()[-1])
    assert told == code, ran.stdout
    assert HEAVY.isdisjoint(modules)
