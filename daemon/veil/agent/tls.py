"""The box's side of TLS: who it is, and whom it believes to be the broker."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from veil.config import FleetConfig
from veil.config_secrets import CREDENTIALS_VARIABLE
from veil.errors import LinkError


def client_context(fleet: FleetConfig, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """Read anew for each connection, so that a renewed certificate needs no restart. None with `tls = "off"`.

    The key is taken from the systemd credential of its file's name where there is one.

    Raises LinkError: a file is missing, not readable, or not what it should be.
    """
    if fleet.tls == "off":
        return None
    if fleet.ca is None or fleet.certificate is None or fleet.key is None:
        raise LinkError("[fleet] names no certificate.", hint="Enrol the box: veil-fleet enroll.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    key = _credential(fleet.key, environ)
    for path in (fleet.ca, fleet.certificate, key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise LinkError(
                f"{path} cannot be read: {error.strerror}.", hint="Check [fleet], or enrol the box again."
            ) from error
    try:
        context.load_verify_locations(cafile=fleet.ca)
    except (ssl.SSLError, OSError) as error:
        raise LinkError(
            f"{fleet.ca} holds no certificate.", hint="It is the fleet's ca.pem, as enrolment gave it."
        ) from error
    try:
        # An empty answer to a question for a passphrase: never ask at a terminal.
        context.load_cert_chain(fleet.certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise LinkError(
            f"{fleet.certificate} and {key} do not belong together, or are damaged.",
            hint="Enrol the box again: veil-fleet enroll.",
        ) from error
    return context


def _credential(key: Path, environ: Mapping[str, str]) -> Path:
    folder = environ.get(CREDENTIALS_VARIABLE)
    candidate = Path(folder) / key.name if folder else key
    # The unit gives an empty line where there is no such secret.
    return candidate if candidate.is_file() and candidate.stat().st_size > 1 else key
