"""A manifest is the segments' lines as the log has them, however long the log is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_desk.box_house import Box
from agent_desk.house import NOON, SECOND
from veil.agent.commands import manifest as module
from veil.agent.commands.manifest import MAX_SEGMENTS, read_manifest
from veil.audit.event import Event, Kind, canonical_line, timestamp
from veil.audit.tree import leaf_hash
from veil.errors import CommandError
from veil.messages.command import Response, Result

_MINUTE_US = 60_000_000
_NOON_US = NOON // 1000


def _write(path: Path, events: list[Event]) -> list[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[bytes] = []
    previous = bytes(32)
    for number, event in enumerate(events):
        lines.append(canonical_line("front", number, previous, NOON, event))
        previous = leaf_hash(lines[-1])
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return lines


def _segment(number: int, **more: str) -> Event:
    """A segment of one minute; number 0 begins at noon."""
    start = _NOON_US + number * _MINUTE_US
    data = {"file": f"{number}.mp4", "first_wall_us": start, "last_wall_us": start + _MINUTE_US, **more}
    return Event(Kind.SEGMENT_CLOSED, data)


_NOISE = Event(Kind.FAULT, {"text": 'he said "kind":"segment_closed" to me'})


def _log(segments: int, **more: str) -> list[Event]:
    """Between two segments there are two other events."""
    return [event for number in range(segments) for event in (_NOISE, _segment(number, **more), _NOISE)]


def test_the_lines_are_those_of_the_log_in_the_range(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = _write(path, _log(10))
    found = read_manifest(path, _NOON_US + 3 * _MINUTE_US + 1, _NOON_US + 5 * _MINUTE_US, None)
    assert [proof.line.encode() for proof in found.segments] == [lines[10], lines[13]]
    assert [proof.sequence for proof in found.segments] == [10, 13]
    assert found.more_after is None


def test_a_segment_that_reaches_into_the_range_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _write(path, _log(3))
    within = _NOON_US + 90_000_000
    found = read_manifest(path, within, within + 1, None)
    assert [proof.sequence for proof in found.segments] == [4]


def test_a_torn_last_line_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _write(path, _log(2))
    path.write_bytes(path.read_bytes() + b'{"kind":"segment_closed","da')
    assert len(read_manifest(path, 0, 2**60, None).segments) == 2
    assert len(read_manifest(path, 0, 2**60, 1).segments) == 1


def test_pages_bring_every_segment_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _write(path, _log(700, note='"quoted" \\ ' * 20))
    seen: list[int] = []
    after, pages = None, 0
    while True:
        page = read_manifest(path, 0, 2**60, after)
        response = Response(nonce="", result=Result(segments=page.segments, more_after=page.more_after))
        assert len(response.encode()) <= Response.MAX_BYTES
        assert len(page.segments) <= MAX_SEGMENTS
        seen += [proof.sequence for proof in page.segments]
        pages += 1
        if page.more_after is None:
            break
        after = page.more_after
    assert seen == [3 * number + 1 for number in range(700)]
    assert pages > 3


@pytest.mark.parametrize("after", range(-1, 31))
def test_after_begins_with_the_next_line(after: int, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _write(path, _log(10, note="x" * 50))
    found = read_manifest(path, 0, 2**60, after)
    assert [proof.sequence for proof in found.segments] == [n for n in range(1, 30, 3) if n > after]


def test_a_long_log_is_read_in_steps_that_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    _write(path, [*[_NOISE] * 10_000, _segment(0)])
    monkeypatch.setattr(module, "SCAN_S", 0.0)
    first = read_manifest(path, 0, 2**60, None)
    assert first.segments == ()
    steps, after = 1, first.more_after
    while after is not None:
        page = read_manifest(path, 0, 2**60, after)
        assert page.more_after is None or page.more_after > after
        after, steps = page.more_after, steps + 1
    assert [proof.sequence for proof in page.segments] == [10_000]
    assert steps == 3


def test_no_log_and_no_event_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no log yet"):
        read_manifest(tmp_path / "events.jsonl", 0, 1, None)
    (tmp_path / "events.jsonl").write_bytes(b"")
    assert read_manifest(tmp_path / "events.jsonl", 0, 1, 7).segments == ()


@pytest.mark.parametrize("bad", [b'{"kind":"segment_closed"}\n', b'"kind":"segment_closed"\n', b"\xff\n"])
def test_a_damaged_log_is_an_error_and_not_a_shorter_answer(bad: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _write(path, _log(2))
    path.write_bytes(path.read_bytes() + bad.replace(b"\xff", b'\xff"kind":"segment_closed"'))
    with pytest.raises(CommandError, match="cannot be read"):
        read_manifest(path, 0, 2**60, None)


def test_the_command_gives_the_range_and_logs_the_access(tmp_path: Path) -> None:
    box = Box(tmp_path)
    lines = _write(box.places().log, _log(5))
    start, end = timestamp(NOON + 61 * SECOND), timestamp(NOON + 119 * SECOND)
    done = box.run("manifest", camera="front", start=start, end=end)
    assert [proof.line for proof in done.result.segments or ()] == [lines[4].decode()]
    (event,) = done.events
    assert event.kind == "recording_accessed"
    assert json.dumps(event.data) == json.dumps(
        {"what": "manifest", "camera": "front", "start": start, "end": end, "segments": 1}
    )
