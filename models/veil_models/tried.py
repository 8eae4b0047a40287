"""Whether a box would take a bundle: asked of the box's own code."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Literal

from veil_models.errors import ModelsError
from veil_models.release import Release, manifest_text

try:
    from pydantic import ValidationError

    from veil.config import DetectorConfig
    from veil.detect.bundle import load_bundle
    from veil.detect.detector import open_detector
    from veil.detect.manifest import Manifest
    from veil.detect.selftest import run_selftest
    from veil.errors import VeilError
except ImportError as error:
    raise ModelsError(f"a release is tried as a box would ({error}): PYTHONPATH=models:daemon.") from error


RUNTIMES: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")


def require_valid(release: Release) -> None:
    """Raises ModelsError where a box would refuse what the bundle is to say of itself."""
    said = tomllib.loads(manifest_text(release, f'"model.onnx" = "{"0" * 64}"\n'))
    try:
        Manifest.model_validate_json(json.dumps(said))
        _config(release, "onnx")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelsError(
            f"{where} {first.get('input')!r}: {first['msg']}; a box would refuse it (docs/bundle-format.md)."
        ) from error


def try_bundle(folder: Path, release: Release) -> None:
    """Loads a whole bundle as a camera does and runs its self-test with both runtimes. Raises ModelsError."""
    try:
        bundle = load_bundle(folder)
        for runtime in RUNTIMES:
            with open_detector(bundle, _config(release, runtime)) as detector:
                run_selftest(detector)
    except VeilError as error:
        raise ModelsError(f"a box would refuse this bundle: {error.message} {error.hint}") from error


def _config(release: Release, runtime: Literal["onnx", "tflite"]) -> DetectorConfig:
    width, height = release.size
    return DetectorConfig(
        bundle=release.name,
        runtime=runtime,
        input_width=width,
        input_height=height,
        tiles_per_frame=0,
        tile_overlap=0,
    )
