"""Where pictures come from: `[capture]`, and sources as they may be shown."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from veil.config.section import Section

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BROKEN_SCHEME = re.compile(r"(?i)rtsps?(?::|//)")
_HOST_OF_NUMBERS = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<four>[0-9.]+))(?::[0-9]*)?")
# `user=ADMIN&password=…` and `user=ADMIN_password=…`: recorders take logins in the path too. What follows may
# be part of a password, so that all is hidden up to the next `&KEY=`. Keys are looked at from their first
# letter on alone: from each letter on would take seconds for the longest sources.
_SECRET_VALUE = re.compile(
    r"(?is)((?:(?<![\w.%-])[\w.%-]*(?:user|usr|name|login|pas|pwd|token|auth|secret|key|sig|session)[\w.%-]*|\b(?:u|p|pw))=)"
    r".*?(?=&[\w.%-]+=|$)"
)


class CaptureConfig(Section):
    """`[capture]`: how sources are read."""

    transport: Literal["tcp", "udp"] = Field("tcp", description="how RTSP carries its packets")
    user: str = Field("", description="user name at the camera; empty: none")
    password: SecretStr = Field(
        SecretStr(""),
        description="password at the camera; meant for the environment, use password_file in files",
    )
    password_file: Path | None = Field(
        None,
        description="file whose first line is the password; a systemd credential of the same file name wins",
        examples=["/etc/veil/secrets/front.password"],
    )
    connect_timeout_s: float = Field(
        5.0, ge=0.5, le=60, description="seconds until a camera that does not answer counts as away"
    )
    stall_timeout_s: float = Field(
        5.0, ge=0.5, le=5, description="seconds without a frame until a connected camera counts as away"
    )
    reconnect_min_s: float = Field(
        1.0, ge=0.05, le=60, description="seconds before the first reconnect, with jitter"
    )
    reconnect_max_s: float = Field(
        60.0, ge=0.05, le=60, description="seconds between reconnects at most, with jitter"
    )
    max_width: int = Field(
        3840,
        ge=16,
        le=16384,
        description="pixels; what fits neither so nor turned is refused before it is decoded",
    )
    max_height: int = Field(2160, ge=16, le=16384, description="pixels; as max_width")
    width: int | None = Field(
        None,
        ge=16,
        le=16384,
        description="pixels to ask a V4L2 device for; unset: what it offers first",
        examples=[1920],
    )
    height: int | None = Field(
        None,
        ge=16,
        le=16384,
        description="pixels to ask a V4L2 device for; unset: what it offers first",
        examples=[1080],
    )
    frame_rate: float | None = Field(
        None,
        gt=0,
        le=240,
        description="frames a second to ask a V4L2 device for; unset: what it offers first",
        examples=[30.0],
    )
    pixel_format: Literal["auto", "yuyv", "mjpeg", "nv12"] = Field(
        "auto", description="what to ask a V4L2 device for; auto: the first that it offers"
    )
    decoder_threads: int = Field(2, ge=1, le=16, description="threads of the video decoder")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reconnect_min_s > self.reconnect_max_s:
            raise ValueError(
                f"reconnect_min_s ({self.reconnect_min_s:g}) is over "
                f"reconnect_max_s ({self.reconnect_max_s:g})"
            )
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together: set both or neither")
        longest, shortest = max(self.max_width, self.max_height), min(self.max_width, self.max_height)
        sides = self.width or 0, self.height or 0
        if max(sides) > longest or min(sides) > shortest:
            size, most = f"{self.width}x{self.height}", f"{self.max_width}x{self.max_height}"
            raise ValueError(f"width and height ({size}) are over max_width and max_height ({most})")
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("password and password_file are both set; keep one")
        return self


def split_login(address: str) -> tuple[str, str]:
    """The login of an address (what stands behind `://`), "" where there is none, and the rest without it.

    Raises:
        ValueError: a `/` before an `@` may be part of a password or the end of a host.
    """
    authority, _, path = address.partition("/")
    login, at, host = authority.rpartition("@")
    if "@" not in path or _is_number(host) or (at and not login):
        return login, address[len(login) + len(at) :]
    port = host.rpartition(":")[2] if ":" in host else None
    if at or (port is not None and port.isdecimal() and len(port) <= 5):
        raise ValueError(
            "it cannot be told which @ ends the login; write / in a password as %2F, "
            "and rtsp://@HOST where an @ belongs to the path"
        )
    if port is None:
        return "", address
    # A password with an unescaped slash: `user:pa/ss@host/path`.
    login, _, rest = address.rpartition("@")
    return login, rest


def _is_number(host: str) -> bool:
    found = _HOST_OF_NUMBERS.fullmatch(host)
    try:
        return bool(found and ipaddress.ip_address(found["six"] or found["four"]))
    except ValueError:
        return False


def is_broken_address(source: str) -> bool:
    """Whether it was meant as an address and is not written as one, as `rtsp:/HOST` and `user:password@HOST`.

    Paths that begin with / or . are files, whatever they are called.
    """
    if _SCHEME.match(source) or source.startswith(("/", ".")):
        return False
    return bool(_BROKEN_SCHEME.match(source)) or _may_hold_login(source)


def _may_hold_login(text: str) -> bool:
    return ":" in text.rpartition("@")[0]


def redact(source: str) -> str:
    """A source as it may be shown and logged: without login, and without values that may be one."""
    found = _SCHEME.match(source)
    scheme = found[0] if found else ""
    rest = source[len(scheme) :]
    hidden = f"***@{rest.rpartition('@')[2]}"
    if found:
        try:
            rest = split_login(rest)[1]
        except ValueError:
            rest = hidden
    elif _may_hold_login(rest):
        rest = hidden
    return _SECRET_VALUE.sub(r"\1***", scheme + rest)
