"""`veil log ...`: verify, read and hand out evidence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from veil.audit.findings import Finding, Report
from veil.audit.note import VerifierKey
from veil.audit.verify import Demands, read_anchor, verify
from veil.errors import KeyFormatError, UsageError

app = typer.Typer(
    name="log",
    help="Verify, read and hand out the evidence logs.",
    no_args_is_help=True,
    add_completion=False,
)

_FINDINGS = 10
_FOLDER_HELP = "A box's folder of logs (STATE_DIR/log), or the folder of one log."


@app.command("verify")
def verify_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help=_FOLDER_HELP)],
    key: Annotated[
        str | None, typer.Option(help="The box's verifier key (NAME+ID+BASE64), known from elsewhere.")
    ] = None,
    anchor: Annotated[
        Path | None,
        typer.Option(help="File with a cosigned checkpoint, kept elsewhere (the fleet manager's)."),
    ] = None,
    complete: Annotated[  # noqa: FBT002
        bool, typer.Option("--complete", help="Lines that are not signed yet are an error.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,  # noqa: FBT002
) -> None:
    """Check evidence offline. Exit code 0: it holds; 10: findings; 2: the call cannot be taken."""
    demands = Demands(_pinned(key), None if anchor is None else read_anchor(anchor), complete)
    report = verify(folder, demands)
    if as_json:
        print(json.dumps(report_data(report)))
    else:
        _print_report(folder, report)
    raise typer.Exit(0 if report.ok else _FINDINGS)


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


def _pinned(text: str | None) -> VerifierKey | None:
    try:
        return None if text is None else VerifierKey.parse(text)
    except KeyFormatError as error:
        # Of the call, not of the evidence.
        raise UsageError(error.message, hint=error.hint) from None


def _print_report(folder: Path, report: Report) -> None:
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
