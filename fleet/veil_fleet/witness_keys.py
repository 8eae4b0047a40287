"""The public keys of the fleet's witness: the one it cosigns with, and those that it had before."""

from __future__ import annotations

from typing import Final

from veil.audit.note import COSIGNATURE_V1, VerifierKey
from veil.errors import KeyFormatError
from veil_fleet.keyfile import read_key
from veil_fleet.settings import FleetSettings

FORMER_KEYS: Final = "witness.vkeys"
"""In the fleet's folder: verifier keys, one a line, of witness keys that were replaced. May be missing."""


def witness_keys(settings: FleetSettings) -> tuple[VerifierKey, ...]:
    """The current one first. Empty before the first start of a collector. Raises KeyFormatError."""
    made: list[VerifierKey] = []
    if settings.witness_key_file.exists():
        made.append(read_key(settings.witness_key_file, COSIGNATURE_V1).verifier)
    former = settings.folder / FORMER_KEYS
    try:
        text = former.read_text() if former.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFormatError(f"{former} cannot be read.") from error
    for line in text.splitlines():
        key = VerifierKey.parse(line)
        if key.algorithm != COSIGNATURE_V1:
            raise KeyFormatError(f"{former}: {key.name} is no key of a witness.")
        if key not in made:
            made.append(key)
    return tuple(made)
