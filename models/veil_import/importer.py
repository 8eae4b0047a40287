"""From a user's ONNX file to a bundle that has been loaded and tried, or to nothing at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from veil.config import DetectorConfig
from veil.detect.bundle import MANIFEST, MAX_FILE_BYTES, load_bundle
from veil.detect.detector import open_detector
from veil.detect.onnx import MODEL
from veil.detect.selftest import EXPECTED, SelftestResult, run_selftest
from veil.errors import BundleError, UsageError
from veil_import.card import card
from veil_import.golden import golden_files
from veil_import.layout import Layout, recognise
from veil_import.manifest_text import manifest_text, multiple
from veil_import.probe import Probe, Size
from veil_import.request import DEFAULT_SIZE, Request
from veil_import.sizes import any_size

_CARD = "card.md"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made.

    Attributes:
        folder: the bundle.
        identity: `name@version`.
        layout: how its outputs are read.
        size: width, height; `declared` says whether the model takes others too.
        selftest: None where the bundle has no golden pictures.
    """

    folder: Path
    identity: str
    layout: Layout
    size: Size
    declared: Literal["fixed", "dynamic"]
    selftest: SelftestResult | None


def import_model(request: Request) -> Imported:
    """Writes the bundle `request.out`, whole and tried, or raises and leaves nothing.

    Raises:
        UsageError: the request cannot be done as asked; `out` is there already.
        BundleError: the model is not of the kind said, does not run, or does not find what it must.
    """
    _require_free(request.out)
    _require_options(request)
    model = _read(request.model)
    used, probe = _open(request, model)
    size, layout = _try(request, probe)
    declared: Literal["fixed", "dynamic"] = "fixed" if probe.input.size else "dynamic"
    golden = golden_files(request.golden, request.classes.classes)
    files = {
        MODEL: used,
        _CARD: card(request, model, used, layout, probe.metadata).encode(),
        **golden,
    }
    text = manifest_text(request, layout, files, dtype=probe.input.dtype, size=size, declared=declared)
    with _appearing(request.out) as folder:
        _write(folder, {**files, MANIFEST: text.encode()})
        selftest = _run(folder, size, layout)
    return Imported(request.out, f"{request.name}@{request.version}", layout, size, declared, selftest)


def _require_free(out: Path) -> None:
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already.", hint="Choose another --out; nothing is overwritten.")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is not a folder.", hint="Create it, or choose another --out.")


def _require_options(request: Request) -> None:
    strange = set(request.thresholds) - set(request.classes.classes)
    if strange:
        raise UsageError(
            f"--threshold names {min(strange)}, which --classes does not.", hint="Name the same classes."
        )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes.", hint="Export a smaller model.")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error


def _open(request: Request, model: bytes) -> tuple[bytes, Probe]:
    """The model as the bundle will hold it, and a probe of it."""
    used = any_size(model) if (request.sizes or request.preset.sizes) == "any" else model
    probe = Probe(used)
    if probe.input.dtype == "uint8" and (request.mean is not None or request.scale is not None):
        raise UsageError(
            "the model takes pixels as they are (uint8); --mean and --scale are for float32.",
            hint="Leave them out.",
        )
    return used, probe


def _try(request: Request, probe: Probe) -> tuple[Size, Layout]:
    """The bundle's size of input, and the layout; a model of any size must keep it at a second one too."""
    fixed = probe.input.size
    if fixed is not None and request.size not in {None, fixed}:
        raise UsageError(
            f"the model takes pictures of {fixed[0]}x{fixed[1]} only.",
            hint="Leave --size out, or export it with another; --sizes any frees a convolutional model.",
        )
    size = request.size or fixed or DEFAULT_SIZE
    layout = _layout_at(request, probe, size)
    step = multiple(layout)
    if size[0] % step or size[1] % step:
        raise UsageError(
            f"{size[0]}x{size[1]} is not a multiple of {step}.",
            hint="Choose another --size, or export the model with one.",
        )
    if fixed is None:
        other = (size[0] + step, size[1] + 2 * step)
        if _layout_at(request, probe, other) != layout:
            raise BundleError(
                f"the model's outputs change their meaning between pictures of {size} and {other}.",
                hint="Export it with a fixed size.",
            )
    return size, layout


def _layout_at(request: Request, probe: Probe, size: Size) -> Layout:
    mean, scale = request.normalisation
    values = probe.run(size, mean, scale)
    return recognise(request.kind, size, values, request.classes, probe.metadata)


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` at the end, or is gone when anything was raised."""
    folder = out.parent / f".{out.name}.{secrets.token_hex(4)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise UsageError(
            f"{out.parent} cannot be written to: {error.strerror}.", hint="Choose another --out."
        ) from error
    try:
        yield folder
        try:
            folder.rename(out)  # refuses a folder that holds anything
        except OSError as error:
            raise UsageError(
                f"{out} cannot be made: {error.strerror}.", hint="Choose another --out."
            ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.", hint="Choose another --out."
            ) from error


def _run(folder: Path, size: Size, layout: Layout) -> SelftestResult | None:
    """Loads the bundle as a camera does, and looks at its golden pictures."""
    bundle = load_bundle(folder)
    try:
        config = DetectorConfig(
            bundle=bundle.manifest.name,
            input_width=size[0],
            input_height=size[1],
            tiles_per_frame=0,
            tile_overlap=0,
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UsageError(
            f"{size[0]}x{size[1]}: {problem['msg']}.", hint="Choose another --size, or another export."
        ) from error
    with open_detector(bundle, config) as detector:
        if not bundle.has(EXPECTED):
            return None
        try:
            return run_selftest(detector)
        except BundleError as error:
            raise BundleError(
                f"read as {layout.kind}, {error.message}",
                hint="Check --kind, --color, --mean and --scale; --golden none leaves the self-test out.",
            ) from error
