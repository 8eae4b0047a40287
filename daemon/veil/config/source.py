"""Where pictures come from: `[capture]`, and sources as they may be shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from veil.config.section import Section

_PASSWORD_IN_QUERY = re.compile(r"(?i)((?:pass(?:word|wd)?|pwd)=)[^&?#]*")


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


def redact(source: str) -> str:
    """A source as it may be shown and logged: without user, password and password-like query values."""
    scheme, separator, rest = source.partition("://")
    if not separator:
        return source
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    return _PASSWORD_IN_QUERY.sub(r"\1***", f"{scheme}://{host}{slash}{path}")
