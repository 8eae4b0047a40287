"""The address of a network camera, with its credentials kept out of sight."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from veil.config import CaptureConfig, redact
from veil.errors import CaptureError

SCHEMES: Final = ("rtsp", "rtsps")


class CameraAddress:
    """An RTSP address. `str` and `repr` never show user, password or query, wherever a login stands.

    Args:
        source: the address of the config; user and password in it count where the config has none of its own.
        config: with its password read (`veil.config_secrets.with_password`).
    """

    __slots__ = ("_password", "_query", "_user", "host", "path", "port", "scheme")

    def __init__(self, source: str, config: CaptureConfig) -> None:
        if config.password_file is not None:
            raise ValueError("the password has to be read before the camera is opened")
        problem = ""
        try:
            parts = urlsplit(source)
            port = parts.port
        except ValueError:
            problem = "The camera's address is not a valid RTSP address."
        if not problem and (parts.scheme.lower() not in SCHEMES or not parts.hostname):
            problem = "The camera's address has no host, or is not rtsp:// or rtsps://."
        if problem:
            raise CaptureError(
                problem,
                hint="Write it as rtsp://HOST:PORT/PATH; user and password go to "
                "capture.user and capture.password_file.",
            )
        self.scheme = parts.scheme.lower()
        self.host = parts.hostname or ""
        self.port = port
        self.path = parts.path
        self._query = parts.query
        self._user = SecretStr(config.user or unquote(parts.username or ""))
        own = config.password.get_secret_value()
        self._password = SecretStr(own or unquote(parts.password or ""))

    def url(self) -> str:
        """The address with credentials, for the codec library alone. Never store, log or raise it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = host if self.port is None else f"{host}:{self.port}"
        user = quote(self._user.get_secret_value(), safe="")
        password = quote(self._password.get_secret_value(), safe="")
        if user or password:
            where = f"{user}:{password}@{where}"
        return urlunsplit((self.scheme, where, self.path, self._query, ""))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = host if self.port is None else f"{host}:{self.port}"
        # The empty login says that an @ in the path is none.
        return redact(f"{self.scheme}://@{where}{self.path}")

    def __repr__(self) -> str:
        return f"CameraAddress({str(self)!r})"
