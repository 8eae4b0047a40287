"""Which certificates were issued and which were revoked: an append-only file, one JSON object a line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from veil.errors import VeilError
from veil.host.disk import sync_directory
from veil_fleet.pki import Leaf

Issuer = Literal["boxes", "fleet"]


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate.

    Attributes:
        name: its common name; `broker` for the broker's.
        serial, fingerprint: as in `Leaf`.
        revoked: when, None while it holds.
    """

    name: str
    issuer: Issuer
    serial: str
    fingerprint: str
    not_after: datetime
    revoked: datetime | None = None


class Registry:
    """The file. Whoever appends holds the folder's lock (see `enrol.Enrolment`)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Issued, ...]:
        """All certificates, the oldest first. Raises VeilError for a file that was damaged."""
        found: dict[str, Issued] = {}
        try:
            lines = self._path.read_text().split("\n")
        except FileNotFoundError:
            return ()
        # Behind the last newline is what a power cut left of a line: its certificate was not given out.
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = json.loads(line)
                if "revoked" in entry:
                    old = found[entry["serial"]]
                    found[old.serial] = Issued(
                        old.name,
                        old.issuer,
                        old.serial,
                        old.fingerprint,
                        old.not_after,
                        datetime.fromisoformat(entry["revoked"]),
                    )
                else:
                    not_after = datetime.fromisoformat(entry["not_after"])
                    issuer: Issuer = "boxes" if entry["issuer"] == "boxes" else "fleet"
                    found[entry["serial"]] = Issued(
                        entry["name"], issuer, entry["serial"], entry["fingerprint"], not_after
                    )
            except (ValueError, KeyError, TypeError) as error:
                raise VeilError(
                    f"{self._path}, line {number}: damaged.", hint="Restore the file from a backup."
                ) from error
        return tuple(found.values())

    def issued(self, name: str, issuer: Issuer, leaf: Leaf) -> None:
        """Durable when it returns: a certificate that is not here cannot be revoked."""
        self._append(
            {
                "name": name,
                "issuer": issuer,
                "serial": leaf.serial,
                "fingerprint": leaf.fingerprint,
                "not_after": leaf.not_after.isoformat(),
                "time": datetime.now(UTC).isoformat(),
            }
        )

    def revoked(self, serial: str) -> None:
        self._append({"serial": serial, "revoked": datetime.now(UTC).isoformat()})

    def _append(self, entry: dict[str, str]) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.ftruncate(descriptor, os.pread(descriptor, size, 0).rfind(b"\n") + 1)
            os.write(descriptor, (json.dumps(entry, sort_keys=True) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self._path.parent)
