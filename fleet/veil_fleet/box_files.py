"""What an enrolled box gets: its certificate, its key, and its part of the configuration."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from veil.audit.durable import replace_file
from veil.audit.note import VerifierKey
from veil.errors import UsageError, VeilError
from veil.host.disk import sync_directory
from veil_fleet.enrol import Enrolled, Site

ON_BOX = "/etc/veil/fleet"
KEY_ON_BOX = "/etc/veil/secrets/fleet.key"


def configuration(
    enrolled: Enrolled,
    site: Site,
    place: str,
    *,
    witness: Sequence[VerifierKey],
    commands: Sequence[VerifierKey],
) -> str:
    """The sections `[box]` and `[fleet]` of the box's veil.toml. `place`: where it stands, may be empty."""
    standing = f"site = {_text(place)}\n" if place else ""
    return f"""\
# From `veil-fleet enroll`: sections of the box's configuration. The files belong to
# {ON_BOX}/ca.pem, {ON_BOX}/device.pem and, with mode 0600, {KEY_ON_BOX} (device.key).
[box]
name = {_text(enrolled.device)}
{standing}
[fleet]
host = {_text(site.hosts[0])}
port = {site.port}
ca = "{ON_BOX}/ca.pem"
certificate = "{ON_BOX}/device.pem"
key = "{KEY_ON_BOX}"
witness_keys = [{", ".join(_text(str(key)) for key in witness)}]
command_keys = [{", ".join(_text(str(key)) for key in commands)}]
"""


def check_out(out: Path) -> None:
    """Raises UsageError where something is there already: a key is never overwritten."""
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} exists already.", hint="Name another with --out, or remove it.")


def write(enrolled: Enrolled, text: str, out: Path) -> None:
    """Writes `out`: a new folder (mode 0700), or a tar archive (0600) where it ends with `.tar`.

    All or nothing: half of it must not look like a bundle. Raises UsageError where `out` exists, VeilError
    where it cannot be written.
    """
    check_out(out)
    files = {"ca.pem": (enrolled.ca, 0o644), "device.pem": (enrolled.certificate.pem, 0o644)}
    if enrolled.key is not None:
        files["device.key"] = (enrolled.key, 0o600)
    files["fleet.toml"] = (text.encode(), 0o644)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".tar":
            replace_file(out, _archive(files), 0o600)
        else:
            _write_folder(files, out)
    except OSError as error:
        raise VeilError(
            f"{out} cannot be written: {error.strerror}.",
            hint=f"Then: veil-fleet renew {enrolled.device} --out ELSEWHERE",
        ) from error


def _write_folder(files: dict[str, tuple[bytes, int]], out: Path) -> None:
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        for name, (content, mode) in files.items():
            replace_file(staging / name, content, mode)
        staging.replace(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_directory(out.parent)


def _archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
            entry.uname = entry.gname = "root"
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)
