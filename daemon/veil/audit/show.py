"""Events for people: one line each, by place in the log. Reads; verifies nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from veil.audit.canonical import NotCanonicalError, parse_line
from veil.audit.evidence_files import opened
from veil.audit.findings import Found
from veil.audit.lines import Lines, LineTooLongError, piece
from veil.audit.verify import find_logs
from veil.errors import EvidenceError, UsageError

_POLL_S = 0.5
_LOUD = {
    "fault",
    "log_repaired",
    "log_damaged",
    "whole_frame",
    "source_lost",
    "recording_paused",
    "segment_set_aside",
    "command_refused",
    "clock_stepped",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; None: all. Times as in the log, `end` is not in the range."""

    log: str | None
    kind: str | None
    start: str | None
    end: str | None

    def takes(self, event: dict[str, Any]) -> bool:
        moment = event.get("time")
        if not isinstance(moment, str) or (self.kind is not None and event.get("kind") != self.kind):
            return False
        return (self.start is None or moment >= self.start) and (self.end is None or moment < self.end)


class _Reader:
    """One events file, from where it was left."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._at = 0
        self._line = 0

    def events(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """New lines, with their numbers from 1; None for one that is no event. Raises EvidenceError."""
        try:
            with opened(self._path) as file:
                for line in Lines(piece(file.fileno(), self._at)):
                    self._at += len(line) + 1
                    self._line += 1
                    try:
                        yield self._line, parse_line(line)
                    except NotCanonicalError:
                        yield self._line, None
        except LineTooLongError:
            raise EvidenceError(f"{self._path}: line {self._line + 1} is longer than lines are.") from None
        except Found as found:
            raise EvidenceError(f"{self._path.parent}: {found.text}.") from None


def show(place: Path, wanted: Wanted, console: Console) -> None:
    """Prints what is wanted and there. Raises UsageError, EvidenceError."""
    _print_new(_readers(place, wanted), wanted, console)


def follow(place: Path, wanted: Wanted, console: Console) -> None:
    """As `show`, and goes on as events come, until it is interrupted."""
    readers = _readers(place, wanted)
    while True:
        _print_new(readers, wanted, console)
        time.sleep(_POLL_S)


def _print_new(readers: list[_Reader], wanted: Wanted, console: Console) -> None:
    for reader in readers:
        for number, event in reader.events():
            if event is None:
                console.print(Text(f"{reader.name} line {number}: no event", style="bold red"))
            elif wanted.takes(event):
                console.print(_line(reader.name, event))


def _readers(place: Path, wanted: Wanted) -> list[_Reader]:
    if place.is_file():
        return [_Reader(place.stem, place)]
    logs, _ = find_logs(place)
    if wanted.log is not None and wanted.log not in logs:
        raise UsageError(
            f"There is no log {wanted.log!r} in {place}.", hint=f"There are: {', '.join(sorted(logs))}."
        )
    chosen = sorted(logs) if wanted.log is None else [wanted.log]
    return [_Reader(name, logs[name] / "events.jsonl") for name in chosen]


def _line(name: str, event: dict[str, Any]) -> Text:
    data = event.get("data")
    kind = str(event.get("kind"))
    line = Text(f"{event['time'][:23].replace('T', ' ')} ", style="dim")
    line.append(f"{event.get('log', name)} {event.get('seq')} ", style="cyan")
    line.append(_plain(kind), style="bold yellow" if kind in _LOUD else "bold")
    for key, value in data.items() if isinstance(data, dict) else ():
        line.append(f" {_plain(key)}=", style="dim")
        line.append(_plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return line


def _plain(text: str) -> str:
    """What a terminal would obey is shown as an escape."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
