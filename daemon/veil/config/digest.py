"""Configurations by their hash, for the evidence."""

from __future__ import annotations

import hashlib

import rfc8785


def digest_of(value: dict[str, object]) -> str:
    """SHA-256 (hexadecimal) of canonical JSON."""
    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()  # type: ignore[arg-type]
