"""What `veil log verify` says: for people, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from veil.audit.findings import Finding, Report


def report_data(report: Report) -> dict[str, object]:
    """The report as `--json` prints it."""
    logs = {}
    for name, counts in report.logs.items():
        logs[name] = asdict(counts)
        if not logs[name].pop("witnessed"):
            continue
        logs[name]["witnessed"] = 1
    return {
        "ok": report.ok,
        "findings": [_finding_data(finding) for finding in report.findings],
        "warnings": [_finding_data(finding) for finding in report.warnings],
        "logs": logs,
        "key_pinned": report.key_pinned,
    }


def _finding_data(finding: Finding) -> dict[str, object]:
    return {
        "code": finding.code,
        "log": finding.log,
        "line": finding.line,
        "seq": finding.sequence,
        "text": finding.text,
    }


def print_report(folder: Path, report: Report) -> None:
    for finding in report.findings:
        print(finding)
    for warning in report.warnings:
        print(f"warning: {warning}")
    for name, counts in report.logs.items():
        copy = ", a witness's copy" if counts.witnessed else ""
        print(f"{name}: {counts.events} events, {counts.signed} signed, {counts.cosigned} cosigned{copy}")
    if not report.key_pinned:
        print("No key was given: the logs are held against themselves only, and whoever had the folder could")
        print("have made all of it anew. Give --key, as the fleet manager or the installer knows it.")
    print(f"{folder}: {'holds' if report.ok else 'DOES NOT HOLD'}")
