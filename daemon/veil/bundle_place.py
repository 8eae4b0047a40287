"""Where model bundles lie. Reads nothing of a bundle: `veil.detect.bundle` verifies."""

from __future__ import annotations

import sys
from pathlib import Path

import veil
from veil.errors import BundleError

MANIFEST = "bundle.toml"
"""Its SHA-256 is the bundle's: it lists the hash of every other file."""


def search_path(bundle_dir: Path | None) -> tuple[Path, ...]:
    """Folders in which a bundle's name is looked up, first match wins.

    `detector.bundle_dir` alone where it is set.
    """
    if bundle_dir is not None:
        return (bundle_dir,)
    package = Path(veil.__file__).resolve().parent
    return (
        package.parents[1] / "models" / "bundles",
        package / "bundles",
        Path(sys.prefix) / "share" / "veil" / "bundles",
        Path("/usr/local/share/veil/bundles"),
        Path("/usr/share/veil/bundles"),
    )


def find_bundle(name: str, bundle_dir: Path | None = None) -> Path:
    """The folder of a bundle: `name` with a `/` in it is a path, otherwise it is looked up.

    Raises BundleError with the folders that were searched.
    """
    if "/" in name:
        folder = Path(name)
        if (folder / MANIFEST).is_file():
            return folder
        raise BundleError(f"{folder} is not a bundle: it has no {MANIFEST}.", hint="Check detector.bundle.")
    folders = search_path(bundle_dir)
    for parent in folders:
        if name not in {"", ".", ".."} and (parent / name / MANIFEST).is_file():
            return parent / name
    raise BundleError(
        f"there is no bundle {name!r}.",
        hint=f"Searched {', '.join(str(folder) for folder in folders)}; set detector.bundle_dir, "
        "or detector.bundle to a path.",
    )
