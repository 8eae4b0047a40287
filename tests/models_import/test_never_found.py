"""A model that never finds what is to be hidden can be used, and whoever uses it is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import veil
from models_import.exports import EXPORTS, model_giving
from models_import.test_import import SIZE, _import


def test_anonymize_tells_what_an_imported_model_never_finds(tmp_path: Path) -> None:
    _import(tmp_path, model_giving(SIZE, EXPORTS["scrfd"](*SIZE).arrays), "scrfd", "--golden", "none")
    Image.fromarray(np.full((64, 64, 3), 180, np.uint8)).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "veil.cli", "anonymize", "a.png", "b.png", "--bundle", "./bundle"]
    environ = os.environ | {"PYTHONPATH": str(Path(veil.__file__).resolve().parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "finds no plates" in done.stderr
