"""The way to the fleet manager: `[fleet]`."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from veil.config.section import Section

_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")
_VERIFIER_KEY = re.compile(r"[^\s+\x00-\x1f\x7f]{1,128}\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}")


class FleetConfig(Section):
    """`[fleet]`: the fleet manager's MQTT broker, and whom the box trusts there. Without a host: no link."""

    host: str = Field(
        "",
        max_length=253,
        description="the broker, as named in its certificate; empty: no link, logs are still signed",
    )
    port: int = Field(8883, ge=1, le=65535, description="TCP port of the broker")
    tls: Literal["on", "off"] = Field(
        "on", description="off is refused unless the host is this machine: for development"
    )
    ca: Path | None = Field(
        None,
        description="file with the certificate that signed the broker's (PEM)",
        examples=["/etc/veil/fleet/ca.pem"],
    )
    certificate: Path | None = Field(
        None,
        description="file with this box's certificate (PEM), named as box.name",
        examples=["/etc/veil/fleet/box.pem"],
    )
    key: Path | None = Field(
        None,
        description="file with its private key (PEM); a systemd credential of the same file name wins",
        examples=["/etc/veil/secrets/fleet.key"],
    )
    command_keys: tuple[str, ...] = Field(
        (),
        max_length=16,
        description="verifier keys (NAME+ID+BASE64) whose commands are taken; none: no commands",
    )
    witness_keys: tuple[str, ...] = Field(
        (), max_length=16, description="verifier keys (NAME+ID+BASE64) whose receipts empty the outbox"
    )
    keepalive_s: int = Field(15, ge=5, le=60, description="seconds of MQTT's keep alive")

    @property
    def enabled(self) -> bool:
        """Whether there is a broker to talk to."""
        return bool(self.host)

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if host and not _HOST.fullmatch(host):
            raise ValueError("host is a name or an address, without scheme, port and spaces")
        return host

    @field_validator("command_keys", "witness_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for number, key in enumerate(keys, 1):
            if not _VERIFIER_KEY.fullmatch(key):
                raise ValueError(f"entry {number} is no verifier key; they have the form NAME+ID+BASE64")
        return keys

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tls == "off" and self.host and not _is_loopback(self.host):
            raise ValueError(
                'tls = "off" is for a broker on this machine alone (localhost, 127.0.0.1 or ::1)'
            )
        if self.enabled and self.tls == "on":
            missing = [name for name in ("ca", "certificate", "key") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"host needs {', '.join(missing)} too: enrol the box (veil-fleet enroll)")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
