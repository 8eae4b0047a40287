"""The log: durable or a named error, torn tails repaired, nothing in it that must not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veil.audit.event import Event, Kind, canonical_line, timestamp
from veil.audit.log import EventLog
from veil.domain.clock import SystemClock
from veil.errors import LogError

CLOCK = SystemClock()


def lines(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "events.jsonl").read_bytes().splitlines()]


def test_sequence_goes_on_after_reopening(tmp_path: Path) -> None:
    for expected in range(3):
        with EventLog(tmp_path / "events.jsonl", "front", CLOCK) as log:
            assert log.append(Event(Kind.FAULT, {"text": "x" * 15_000})) == expected
    assert [line["seq"] for line in lines(tmp_path)] == [0, 1, 2]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4000))
def test_torn_tail_is_cut_and_the_repair_is_an_event(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    directory = tmp_path_factory.mktemp("log")
    with EventLog(directory / "events.jsonl", "front", CLOCK) as log:
        for number in range(20):
            log.append(Event(Kind.FAULT, {"number": number}))
    path = directory / "events.jsonl"
    size = path.stat().st_size
    os.truncate(path, max(0, size - cut))
    whole = path.read_bytes().count(b"\n")
    torn = not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with EventLog(directory / "events.jsonl", "front", CLOCK) as log:
        assert log.next_sequence == whole + torn
    kept = lines(directory)
    assert [line["seq"] for line in kept] == list(range(len(kept)))
    assert (kept[-1]["kind"] == "log_repaired") if torn else True


def test_second_process_cannot_open_the_log(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from veil.audit.log import EventLog\n"
        "from veil.domain.clock import SystemClock\n"
        "EventLog(Path(sys.argv[1]), 'front', SystemClock())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "events.jsonl")]
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "LogError" in done.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_failing_write_is_a_named_error_and_the_log_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK) as log:
        log.append(Event(Kind.FAULT, {}))
        (tmp_path / "events.jsonl.reserve").unlink()

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("veil.audit.log.os.fdatasync", full)
            with pytest.raises(LogError, match="No log, no video"):
                log.append(Event(Kind.FAULT, {"lost": 1}))
        assert log.append(Event(Kind.FAULT, {"after": 1})) == 1
    assert [line["seq"] for line in lines(tmp_path)] == [0, 1]


def test_full_disk_uses_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK) as log:
        real = os.fdatasync

        def full_until_reserve_is_gone(descriptor: int) -> None:
            if (tmp_path / "events.jsonl.reserve").exists():
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr("veil.audit.log.os.fdatasync", full_until_reserve_is_gone)
        assert log.append(Event(Kind.FAULT, {})) == 0
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize("value", [1.5, True, 2**53, {"é": 1}, {"a": (1, 2.0)}, b"x"])
def test_events_hold_strings_and_integers_only(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_line("front", 0, bytes(32), 0, Event(Kind.FAULT, {"value": value}))  # type: ignore[dict-item]


def test_lines_are_canonical() -> None:
    event = Event(Kind.FAULT, {"b": 1, "a": "ü"})
    line = canonical_line("front", 3, b"\xab" * 32, 1_700_000_000_123_456_789, event)
    assert line.decode() == (
        '{"data":{"a":"ü","b":1},"kind":"fault","log":"front","prev":"' + "ab" * 32 + '",'
        '"seq":3,"time":"2023-11-14T22:13:20.123456Z"}'
    )
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
