"""`veil log ...`: verify, read and hand out evidence."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veil.command_line import config_path
from veil.errors import EvidenceError, KeyFormatError, UsageError

if TYPE_CHECKING:
    from veil.audit.export import Segment
    from veil.audit.note import VerifierKey

app = typer.Typer(
    name="log",
    help="Verify, read and hand out the evidence logs.",
    no_args_is_help=True,
    add_completion=False,
)

_FINDINGS = 10
_ANSWER_S = 30.0
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
    complete: Annotated[
        bool, typer.Option("--complete", help="Lines that are not signed yet are an error.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check evidence offline. Exit code 0: it holds; 10: findings; 2: the call cannot be taken."""
    from veil.audit.verify import Demands, read_anchor, verify, verify_chain
    from veil.cli_log_report import print_report, report_data

    demands = Demands(_pinned(key), None if anchor is None else read_anchor(anchor), complete)
    if folder.is_file() and demands == Demands():
        message = (
            f"{folder} is one file: nothing in it is signed, and whoever has it could have made it anew."
        )
        print(message, file=sys.stderr)
        report = verify_chain(folder)
    else:
        report = verify(folder, demands)
    if as_json:
        print(json.dumps(report_data(report)))
    else:
        print_report(folder, report)
    raise typer.Exit(0 if report.ok else _FINDINGS)


@app.command("show")
def show_command(
    place: Annotated[Path, typer.Argument(metavar="DIR_OR_FILE", help=_FOLDER_HELP + " Or an events file.")],
    log: Annotated[str | None, typer.Option(help="Only this log.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind of event.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Not before, such as 2026-11-21T08:00 (UTC).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this time.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events come.")] = False,
) -> None:
    """Print events for people. What is printed is not verified: `veil log verify` does that."""
    from rich.console import Console

    from veil.audit.show import Wanted, show
    from veil.audit.show import follow as show_on

    wanted = Wanted(log, kind, start and _iso(_time_us(start)), end and _iso(_time_us(end)))
    try:
        (show_on if follow else show)(place, wanted, Console(highlight=False, soft_wrap=True))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help=_FOLDER_HELP)],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    start: Annotated[str, typer.Option("--from", help="Segments from this time on, UTC.")],
    end: Annotated[str, typer.Option("--to", help="Segments before this time, UTC.")],
    log: Annotated[str | None, typer.Option(help="Only this log.")] = None,
    segments: Annotated[
        Path | None, typer.Option(metavar="RECORDINGS", help="Copy the recordings too, from this folder.")
    ] = None,
) -> None:
    """Write evidence to hand out: logs, checkpoints, keys, proofs, the format's page, recordings if asked.

    On a box, taking recordings out is itself an event: it is in the log before anything is copied.
    """
    from veil.audit.event import said
    from veil.audit.export import Span, export, list_segments
    from veil.audit.verify import verify

    span = Span(_time_us(start), _time_us(end))
    if span.start_us >= span.end_us:
        raise UsageError("--from is not before --to.")
    found = list_segments(folder, log, span)
    if segments is not None:
        _note_access(folder, found, start, end)
    done = export(folder, out, log, found, segments)
    report = verify(done.folder)
    for finding in report.findings:
        print(finding)
    faulty = [each for each in done.segments if each.copy in {"missing", "CHANGED"}]
    for each in faulty:
        print(f"{each.log}, seq {each.sequence}: {said(str(each.data.get('file')))}: {each.copy}")
    print(f"{out}: {len(report.logs)} logs, {len(done.segments)} segments; veil log verify {done.folder}")
    raise typer.Exit(0 if report.ok and not faulty else _FINDINGS)


@app.command("rotate-key")
def rotate_key_command(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")] = None,
) -> None:
    """Replace the signing key, by the running agent or, where none runs, here. The old one signs no more."""
    from veil.audit.requests import ROTATE_KEY, Request, ask
    from veil.config_load import load_config
    from veil.domain.clock import SystemClock

    box = load_config(config_path(config), os.environ).box
    ask(box.state_dir, Request(ROTATE_KEY, {}), box.name, SystemClock(), _ANSWER_S)
    newest = (box.state_dir / "log" / "keys.jsonl").read_bytes().splitlines()[-1]
    print(f"The box signs with {json.loads(newest)['new']}")


def _pinned(text: str | None) -> VerifierKey | None:
    if text is None:
        return None
    from veil.audit.note import VerifierKey

    try:
        return VerifierKey.parse(text)
    except KeyFormatError as error:
        # Of the call, not of the evidence.
        raise UsageError(error.message, hint=error.hint) from None


def _note_access(folder: Path, segments: list[Segment], start: str, end: str) -> None:
    """On a box: an event of its own log. A copy of a box's logs has nobody to tell."""
    import getpass

    from veil.audit.event import Value, said
    from veil.audit.requests import Request, ask
    from veil.domain.clock import SystemClock

    logs = folder.resolve()
    state = logs.parent if (logs / "keys.jsonl").exists() else logs.parent.parent
    if not (state / "keys").is_dir() or not (state / "log").is_dir():
        return
    first = next(iter((state / "log" / "keys.jsonl").read_bytes().splitlines()), None)
    if first is None:
        raise EvidenceError(f"{state / 'log' / 'keys.jsonl'} is empty.")
    data: dict[str, Value] = {
        "by": said(f"{getpass.getuser()} (veil log export)"),
        "from": _iso(_time_us(start)),
        "to": _iso(_time_us(end)),
        "segments": len(segments),
    }
    ask(state, Request("recording_accessed", data), json.loads(first)["device"], SystemClock(), _ANSWER_S)


def _time_us(text: str) -> int:
    """POSIX microseconds of a date or a time, in UTC where it names no zone. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time.", hint="Write 2026-11-21 or 2026-11-21T08:00.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)


def _iso(wall_us: int) -> str:
    moment = datetime.fromtimestamp(wall_us // 1_000_000, UTC).replace(microsecond=wall_us % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
