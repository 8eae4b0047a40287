"""What the demo says at its end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from veil.audit.checkpoint import Checkpoint
from veil.audit.findings import Report
from veil.audit.note import Note
from veil.audit.signer import COSIGNED_FILE
from veil.audit.verify import verify
from veil.config import Config
from veil.errors import NoteError, UsageError
from veil.places import CameraPlaces

_FINDINGS_TOLD = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """The logs of the box. `report` is None where there is none."""

    folder: Path
    report: Report | None

    @classmethod
    def of(cls, config: Config) -> Evidence:
        """As `veil log verify` finds them."""
        folder = config.box.state_dir / "log"
        try:
            return cls(folder, verify(folder))
        except UsageError:
            return cls(folder, None)


def all_cosigned(config: Config) -> bool:
    """Whether the fleet manager's receipts cover every line. Quick: nothing is verified."""
    logs = list((config.box.state_dir / "log").glob("*/events.jsonl"))
    return bool(logs) and all(_lines(path) == _cosigned(path.with_name(COSIGNED_FILE)) for path in logs)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _cosigned(path: Path) -> int:
    try:
        return Checkpoint.parse(Note.parse(path.read_text()).text).size
    except (OSError, NoteError):
        return 0


def counts_of(config: Config, camera: str) -> dict[str, Any]:
    """The camera's last state; empty where it never ran."""
    try:
        counts = json.loads(CameraPlaces.of(config, camera).state.read_text())
    except (OSError, ValueError):
        return {}
    return dict(counts)


def tell(counts: dict[str, Any], written: Sequence[Path], evidence: Evidence) -> int:
    """Prints it. The exit code: 1 where no anonymized frame came out, or the evidence does not hold."""
    if not counts.get("frames_out"):
        print("No anonymized frame came out; `veil doctor` says what is wrong.")
        return 1
    dropped = sum(counts["dropped"].values())
    print(
        f"frames: {counts['frames_in']} in, {counts['frames_out']} out, {dropped} dropped, "
        f"{counts['whole']} hidden as a whole, {counts['slates']} slates"
    )
    latency_ms = counts["latency_p99_ns"] / 1e6
    print(f"masks: {counts['masks']}; latency beyond the look-back: {latency_ms:.0f} ms p99")
    print(f"files: {len(written)} recordings, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB")
    for path in written:
        print(f"  {path}")
    return _tell_evidence(evidence)


def _tell_evidence(evidence: Evidence) -> int:
    report = evidence.report
    if report is None:
        print(f"No evidence was logged in {evidence.folder}.")
        return 1
    logs = report.logs.values()
    print(
        f"events: {sum(log.events for log in logs)} logged, {sum(log.signed for log in logs)} signed, "
        f"{sum(log.cosigned for log in logs)} cosigned by the fleet manager"
    )
    print(f"veil log verify {evidence.folder}: {'holds' if report.ok else 'DOES NOT HOLD'}")
    for finding in report.findings[:_FINDINGS_TOLD]:
        print(f"  {finding}")
    return 0 if report.ok else 1
