"""witness.vkeys: the fleet managers whose cosignatures a box has kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from veil.audit.durable import replace_file
from veil.audit.note import COSIGNATURE_V1, VerifierKey
from veil.errors import EvidenceError, KeyFormatError

WITNESS_FILE = "witness.vkeys"
_MAX_BYTES = 1 << 16


def read_witness_keys(path: Path) -> list[VerifierKey]:
    """None in a file that is missing. Raises EvidenceError, KeyFormatError, OSError."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES or (text and not text.endswith(b"\n")):
        raise EvidenceError(f"{path} is no list of keys, one a line.")
    try:
        lines = text.decode().split("\n")[:-1]
    except UnicodeDecodeError:
        raise EvidenceError(f"{path} is not UTF-8.") from None
    return [parse_witness_key(line) for line in lines]


def parse_witness_key(line: str) -> VerifierKey:
    """Raises KeyFormatError."""
    key = VerifierKey.parse(line)
    if key.algorithm != COSIGNATURE_V1 or str(key) != line:
        raise KeyFormatError(f"{key.name} is no key of a witness.")
    return key


def keep_witness_keys(folder: Path, keys: Iterable[VerifierKey]) -> None:
    """Adds to STATE_DIR/log/witness.vkeys what is not there; keys stay, for what they cosigned stays.

    Raises EvidenceError, KeyFormatError for a key of another kind, OSError.
    """
    path = folder / WITNESS_FILE
    known = read_witness_keys(path)
    new = [key for key in dict.fromkeys(keys) if parse_witness_key(str(key)) not in known]
    if new:
        replace_file(path, "".join(f"{key}\n" for key in (*known, *new)).encode(), 0o640)
