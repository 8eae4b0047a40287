"""The way to the fleet manager: certificates, clock, broker. Nothing is said there but TLS's own words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from veil.agent.refusal import unreachable
from veil.agent.tls import client_context
from veil.config import Config
from veil.doctor.finding import Finding, fail, failed, ok, warn
from veil.errors import LinkError

_SOON: Final = timedelta(days=30)
_TIMEOUT_S: Final = 5.0
_RENEW: Final = "Renew it on the fleet manager (veil-fleet renew) and bring it here."


def check_fleet(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    fleet = config.fleet
    if not fleet.enabled:
        return
    try:
        context = client_context(fleet, environ)
    except LinkError as error:
        yield failed("fleet", error)
        return
    if fleet.certificate is not None and context is not None:
        yield from _check_times(fleet.certificate)
    where = f"{fleet.host}:{fleet.port}"
    try:
        _greet(fleet.host, fleet.port, context)
    except OSError as error:
        yield failed("fleet", unreachable(error, where))
    else:
        how = "answers, with a certificate of the fleet's" if context else "answers, without TLS"
        yield ok("fleet", f"the broker {where} {how}")


def _check_times(path: Path) -> Iterator[Finding]:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        yield fail("fleet", f"{path} cannot be read as a certificate.", _RENEW)
        return
    now = datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        yield fail(
            "fleet",
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, the box's certificate holds from "
            f"{begins:%Y-%m-%d %H:%M} on: it cannot connect. It records, and keeps its events until it can.",
            "Set the clock: timedatectl set-ntp true. The box then connects by itself.",
        )
    elif now > ends:
        yield fail("fleet", f"The box's certificate ended on {ends:%Y-%m-%d}.", _RENEW)
    elif now > ends - _SOON:
        yield warn("fleet", f"The box's certificate ends on {ends:%Y-%m-%d}.", _RENEW)
    else:
        yield ok("fleet", f"the box's certificate holds until {ends:%Y-%m-%d}")


def _greet(host: str, port: int, context: ssl.SSLContext | None) -> None:
    """Raises OSError, ssl.SSLError among them."""
    with socket.create_connection((host, port), _TIMEOUT_S) as channel:
        if context is not None:
            context.wrap_socket(channel, server_hostname=host).close()
