"""Finds and verifies bundles. Nothing of a bundle is used before all of it verified."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from veil.bundle_place import MANIFEST, find_bundle
from veil.detect.manifest import SCHEMA, Manifest
from veil.errors import BundleError

__all__ = ["MANIFEST", "Bundle", "find_bundle", "load_bundle"]

MAX_MANIFEST_BYTES = 256 * 1024
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_BUNDLE_BYTES = 512 * 1024 * 1024

_INSTALL_AGAIN = "Install the bundle again from where it was released."


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        folder: where it lies.
        manifest: bundle.toml, parsed.
        sha256: of bundle.toml, and so of every file it lists.
    """

    folder: Path
    manifest: Manifest
    sha256: str

    @property
    def identity(self) -> str:
        """`name@version`, as evidence names it."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def has(self, name: str) -> bool:
        return name in self.manifest.files

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, hashed again: what is used is what was verified.

        Raises BundleError for a file that is not listed or changed since.
        """
        expected = self.manifest.files.get(name)
        if expected is None:
            raise BundleError(
                f"bundle {self.identity} has no {name}.",
                hint="Choose another detector.runtime or another bundle.",
            )
        data = _read_regular(self.folder / name, MAX_FILE_BYTES)
        if hashlib.sha256(data).hexdigest() != expected:
            raise BundleError(
                f"{name} of bundle {self.identity} is not the file that its manifest lists.",
                hint=_INSTALL_AGAIN,
            )
        return data


def load_bundle(folder: Path) -> Bundle:
    """Reads and verifies every file below `folder`. Raises BundleError; touches nothing."""
    raw = _read_regular(folder / MANIFEST, MAX_MANIFEST_BYTES)
    manifest = _parse(folder, raw)
    for name in manifest.files:
        _require_plain_name(folder, name)
    present = _files_below(folder)
    _require_same_names(folder, present.keys() - {MANIFEST}, set(manifest.files))
    if sum(present.values()) > MAX_BUNDLE_BYTES:
        raise BundleError(f"bundle {folder} is larger than {MAX_BUNDLE_BYTES} bytes.", hint=_INSTALL_AGAIN)
    bundle = Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())
    for name in manifest.files:
        bundle.read(name)
    return bundle


def _parse(folder: Path, raw: bytes) -> Manifest:
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleError(f"{folder / MANIFEST} is not TOML: {error}.", hint=_INSTALL_AGAIN) from error
    schema = document.get("schema")
    if schema != SCHEMA:
        raise BundleError(
            f"bundle {folder} has schema {schema!r}, this version of veil reads {SCHEMA}.",
            hint="Update veil, or choose a bundle made for this version.",
        )
    try:
        # By way of JSON: strict there means TOML's types, with arrays as tuples and strings as enums.
        return Manifest.model_validate_json(json.dumps(document))
    except (ValidationError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder / MANIFEST} does not verify: {_first_problem(error)}.",
            hint="See docs/bundle-format.md.",
        ) from error


def _first_problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{where}: {first['msg']}" if where else first["msg"]
    return str(error)


def _require_plain_name(folder: Path, name: str) -> None:
    path = PurePosixPath(name)
    plain = str(path) == name and not path.is_absolute() and "\\" not in name and "\0" not in name
    if not plain or ".." in path.parts or name in {".", MANIFEST}:
        raise BundleError(f"bundle {folder} lists a file by the name {name!r}.", hint=_INSTALL_AGAIN)


def _files_below(folder: Path) -> dict[str, int]:
    """Names (POSIX, relative) and sizes. Raises BundleError for anything but folders and regular files."""
    sizes: dict[str, int] = {}
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                    continue
                if not entry.is_file(follow_symlinks=False):
                    raise BundleError(
                        f"{entry.path} in a bundle is a link or no regular file.", hint=_INSTALL_AGAIN
                    )
                name = Path(entry.path).relative_to(folder).as_posix()
                sizes[name] = entry.stat(follow_symlinks=False).st_size
    return sizes


def _require_same_names(folder: Path, present: set[str], listed: set[str]) -> None:
    missing, unexpected = sorted(listed - present), sorted(present - listed)
    if missing:
        raise BundleError(f"bundle {folder} lacks {missing[0]}.", hint=_INSTALL_AGAIN)
    if unexpected:
        raise BundleError(
            f"bundle {folder} holds {unexpected[0]}, which its manifest does not list.",
            hint=f"Remove it, or install the bundle again. {len(unexpected)} such file(s).",
        )


def _read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a regular file, links not followed, at most `limit`. Raises BundleError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.", hint=_INSTALL_AGAIN) from error
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is no regular file.", hint=_INSTALL_AGAIN)
        if status.st_size > limit:
            raise BundleError(f"{path} is larger than {limit} bytes.", hint=_INSTALL_AGAIN)
        return stream.read(limit)
