"""Credentials of cameras: out of source URLs, and read when a camera is opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from pydantic import SecretStr

from veil.config import CameraConfig, split_login
from veil.errors import ConfigError

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"


class SplitSource(NamedTuple):
    """A source without credentials, and what was inside it (percent-decoded)."""

    source: str
    user: str
    password: str


def split_credentials(source: str) -> SplitSource:
    """Takes `user:password@` out of a URL. Anything that is not a URL comes back as it is.

    Raises:
        ValueError: it cannot be told which part is the password.
    """
    scheme, separator, rest = source.partition("://")
    login, where = split_login(rest) if separator else ("", "")
    if not login:
        return SplitSource(source, "", "")
    user, _, password = login.partition(":")
    return SplitSource(f"{scheme}://{where}", unquote(user), unquote(password))


def camera_password(camera: CameraConfig, environ: Mapping[str, str]) -> SecretStr:
    """The password of a camera: set directly, from a systemd credential, or from `capture.password_file`.

    Read when the camera is opened and not before: a camera's process may read its own secret only.

    Raises:
        ConfigError: when the file cannot be read or its first line holds nothing.
    """
    capture = camera.capture
    if capture.password_file is None:
        return capture.password
    candidates = [capture.password_file]
    if environ.get(CREDENTIALS_VARIABLE):
        candidates.insert(0, Path(environ[CREDENTIALS_VARIABLE]) / capture.password_file.name)
    reason = "does not exist"
    for candidate in candidates:
        try:
            # Editors of Windows put a byte order mark before the first letter.
            text = candidate.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            continue
        except UnicodeDecodeError:
            reason = "is not UTF-8 text"
            continue
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            continue
        password = text.partition("\n")[0].strip()
        if password:
            return SecretStr(password)
        reason = "has an empty first line" if text.strip() else "is empty"
    # The name of the file is not shown: passwords get pasted into the wrong key.
    raise ConfigError(
        f"camera {camera.name}: the file that capture.password_file names {reason}.",
        hint="Write the password into its first line, readable for the camera's process only (mode 0400).",
    )


def with_password(camera: CameraConfig, environ: Mapping[str, str]) -> CameraConfig:
    """The same camera with its password read (see `camera_password`): what its own process works with."""
    capture = camera.capture.model_copy(
        update={"password": camera_password(camera, environ), "password_file": None}
    )
    return camera.model_copy(update={"capture": capture})
