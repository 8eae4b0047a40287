"""Topics: `veil/DEVICE/...`. The ACL of a broker gives a box exactly its own (docs/mqtt.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ROOT = "veil"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class Kind(StrEnum):
    """What stands behind the device's name; `CAMERA`, `LOG`, `CHECKPOINT`, `COSIGN`, `RESEND` and `RESPONSE`
    are followed by a name."""

    STATUS = "status"
    HEALTH = "health"
    KEYS = "keys"
    CAMERA = "camera"
    LOG = "log"
    CHECKPOINT = "checkpoint"
    COSIGN = "cosign"
    RESEND = "resend"
    COMMAND = "command"
    RESPONSE = "response"


_NAMED = {Kind.CAMERA, Kind.LOG, Kind.CHECKPOINT, Kind.COSIGN, Kind.RESEND, Kind.RESPONSE}
TO_FLEET = (Kind.STATUS, Kind.HEALTH, Kind.KEYS, Kind.CAMERA, Kind.LOG, Kind.CHECKPOINT, Kind.RESPONSE)
TO_BOX = (Kind.COSIGN, Kind.RESEND, Kind.COMMAND)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart. `name`: of the camera, the log or the requester; empty where the kind has none."""

    device: str
    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        tail = f"/{self.name}" if self.name else ""
        end = "/state" if self.kind is Kind.CAMERA else ""
        return f"{ROOT}/{self.device}/{self.kind}{tail}{end}"

    @classmethod
    def parse(cls, text: str) -> Topic | None:
        """None for whatever is no topic of a box."""
        parts = text.split("/")
        if len(parts) < 3 or parts[0] != ROOT or not _NAME.fullmatch(parts[1]):
            return None
        try:
            kind = Kind(parts[2])
        except ValueError:
            return None
        name = ""
        if kind in _NAMED:
            if len(parts) < 4 or not _NAME.fullmatch(parts[3]):
                return None
            name = parts[3]
        topic = cls(parts[1], kind, name)
        return topic if str(topic) == text else None


def filter_of(kind: Kind, device: str = "+") -> str:
    """The topic filter for a kind, of one device or of all."""
    tail = "/+" if kind in _NAMED else ""
    end = "/state" if kind is Kind.CAMERA else ""
    return f"{ROOT}/{device}/{kind}{tail}{end}"
