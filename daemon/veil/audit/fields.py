"""What an event's line has to hold, beyond being canonical (docs/log-format.md, Events)."""

from __future__ import annotations

import re
from typing import Any

from veil.audit.forms import is_time

_FIELDS = {"data", "kind", "log", "prev", "seq", "time"}
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")

_kind, _hash = _KIND.fullmatch, _HASH.fullmatch


def fault_in(event: dict[str, Any]) -> str:
    """What is wrong with the keys and the form of the values; empty where nothing is."""
    if event.keys() != _FIELDS:
        return "an event has the keys data, kind, log, prev, seq and time"
    if not isinstance(event["data"], dict):
        return "`data` is no object"
    if not isinstance(event["kind"], str) or not _kind(event["kind"]):
        return "`kind` is no kind"
    if not isinstance(event["log"], str):
        return "`log` is no string"
    if not isinstance(event["prev"], str) or not _hash(event["prev"]):
        return "`prev` is no hash"
    if not isinstance(event["seq"], int) or event["seq"] < 0:
        return "`seq` is no sequence number"
    if not isinstance(event["time"], str) or not is_time(event["time"]):
        return "`time` is no time"
    return ""
