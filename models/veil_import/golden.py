"""Golden pictures of an imported bundle: the public-domain astronaut, or the user's own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from veil.detect.selftest import EXPECTED, FOLDER
from veil.domain.detection import ObjectClass
from veil.errors import RuntimeMissingError, UsageError

_FACE = [176.0, 80.0, 92.0, 112.0]
"""The face in scikit-image's `astronaut` (NASA, public domain), x, y, width, height, drawn by hand."""

Files = dict[str, bytes]


def golden_files(choice: str, classes: Sequence[ObjectClass]) -> Files:
    """What goes into golden/, by name inside the bundle.

    Args:
        choice: "astronaut", "none", a folder with expected.json and its pictures, or "auto": the astronaut
            for bundles with faces, otherwise none.

    Raises UsageError for a folder that does not hold this, RuntimeMissingError without scikit-image.
    """
    match choice:
        case "none":
            return {}
        case "auto":
            return _astronaut() if ObjectClass.FACE in classes else {}
        case "astronaut":
            return _astronaut()
        case folder:
            return _own(Path(folder))


def _astronaut() -> Files:
    try:
        import skimage.data
    except ImportError as error:
        raise RuntimeMissingError(
            "the self-test's picture comes with scikit-image, which is not installed.",
            hint="pip install scikit-image, or --golden with a folder of your own, or none.",
        ) from error
    load: Callable[[], object] = skimage.data.astronaut
    stream = io.BytesIO()
    Image.fromarray(np.asarray(load(), np.uint8)).save(stream, "PNG")
    expected = [{"file_name": "astronaut.png", "category": "face", "bbox": _FACE}]
    return {f"{FOLDER}/astronaut.png": stream.getvalue(), EXPECTED: (json.dumps(expected) + "\n").encode()}


def _own(folder: Path) -> Files:
    path = folder / PurePosixPath(EXPECTED).name
    try:
        expected = path.read_bytes()
        names = sorted({str(each["file_name"]) for each in json.loads(expected)})
        if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in names):
            raise UsageError(f"{path} names a picture outside its folder.", hint="See docs/bundle-format.md.")
        return {EXPECTED: expected, **{f"{FOLDER}/{name}": (folder / name).read_bytes() for name in names}}
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be read: {error.strerror}.",
            hint="--golden takes a folder with expected.json and its pictures, astronaut, or none.",
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is no list of objects.", hint="See docs/bundle-format.md.") from error
