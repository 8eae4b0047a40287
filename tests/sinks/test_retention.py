"""Old recordings leave oldest first, by age and by space, with a trace before each deletion."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from veil.config import RecorderConfig
from veil.errors import LogError
from veil.sinks.retention import RetentionReason, SegmentDeleted, retain
from veil.sinks.segment_file import segment_name, segment_number, segment_start_ns

DAY = 86_400
NOW = int(datetime(2026, 5, 20, 12, tzinfo=UTC).timestamp())


class StoppedClock:
    """Stands at `NOW`."""

    def monotonic_ns(self) -> int:
        return 0

    def wall_ns(self) -> int:
        return NOW * 1_000_000_000


def record(directory: Path, number: int, days_ago: float, content: bytes = b"x" * 100) -> Path:
    start = int((NOW - days_ago * DAY) * 1_000_000_000)
    path = directory / f"{segment_name('front', start, number)}.mp4"
    path.write_bytes(content)
    return path


def run(directory: Path, config: RecorderConfig) -> list[SegmentDeleted]:
    told: list[SegmentDeleted] = []
    deleted = retain(config, directory, StoppedClock(), told.append)
    assert told == deleted
    return deleted


def test_old_ones_leave_by_age_and_say_what_they_were(tmp_path: Path) -> None:
    old = [record(tmp_path, 1, 9, b"one"), record(tmp_path, 2, 4, b"two")]
    young = [record(tmp_path, 3, 2.9), record(tmp_path, 4, 0)]
    deleted = run(tmp_path, RecorderConfig(keep_days=3))
    assert [(one.path, one.reason) for one in deleted] == [(path, RetentionReason.AGE) for path in old]
    assert [one.sha256 for one in deleted] == [hashlib.sha256(c).hexdigest() for c in (b"one", b"two")]
    assert sorted(tmp_path.iterdir()) == young


def test_the_oldest_leave_until_the_rest_fits(tmp_path: Path) -> None:
    paths = [record(tmp_path, number, 1, bytes(1000)) for number in range(1, 7)]
    deleted = run(tmp_path, RecorderConfig(keep_gib=3500 / (1 << 30)))
    assert [one.path for one in deleted] == paths[:3]
    assert {one.reason for one in deleted} == {RetentionReason.SPACE}


def test_the_newest_and_parts_and_other_files_stay(tmp_path: Path) -> None:
    newest = record(tmp_path, 8, 400)
    part = tmp_path / f"{segment_name('front', 0, 9)}.mp4.part"
    other = tmp_path / "notes.mp4"
    aside = tmp_path / "set-aside"
    aside.mkdir()
    for path in (part, other, aside / "front-20200101T000000.000Z-000001.mp4"):
        path.write_bytes(b"x")
    assert run(tmp_path, RecorderConfig(keep_days=0.001, keep_gib=1e-9)) == []
    assert newest.exists()
    assert part.exists()
    assert other.exists()


def test_order_is_by_number_when_the_wall_clock_stepped(tmp_path: Path) -> None:
    first, second = record(tmp_path, 1, 0.5, bytes(1000)), record(tmp_path, 2, 1.5, bytes(1000))
    record(tmp_path, 3, 0.1, bytes(1000))
    deleted = run(tmp_path, RecorderConfig(keep_gib=2500 / (1 << 30)))
    assert [one.path for one in deleted] == [first]
    assert second.exists()


def test_what_was_recorded_before_the_clock_was_set_is_as_old_as_what_came_after(tmp_path: Path) -> None:
    unset = [record(tmp_path, number, NOW / DAY - number / DAY) for number in (1, 2)]
    record(tmp_path, 3, 1)
    record(tmp_path, 4, 0)
    assert run(tmp_path, RecorderConfig(keep_days=3)) == []
    late = RecorderConfig(keep_days=0.5)
    assert [one.path for one in run(tmp_path, late)] == [*unset, tmp_path / _name(3, 1)]


def test_a_recording_stamped_in_the_future_is_no_younger_than_the_ones_after_it(tmp_path: Path) -> None:
    ahead = record(tmp_path, 1, -365)
    record(tmp_path, 2, 4)
    newest = record(tmp_path, 3, 0)
    assert [one.path for one in run(tmp_path, RecorderConfig(keep_days=3))][:1] == [ahead]
    assert list(tmp_path.iterdir()) == [newest]


def _name(number: int, days_ago: float) -> str:
    return f"{segment_name('front', int((NOW - days_ago * DAY) * 1_000_000_000), number)}.mp4"


def test_without_a_trace_nothing_is_deleted(tmp_path: Path) -> None:
    old = record(tmp_path, 1, 9)
    record(tmp_path, 2, 0)

    def no_log(_: SegmentDeleted) -> None:
        raise LogError("full")

    with pytest.raises(LogError):
        retain(RecorderConfig(), tmp_path, StoppedClock(), no_log)
    assert old.exists()


def test_names_say_camera_time_and_number() -> None:
    start = 1_767_322_999_123_000_000
    name = f"{segment_name('front-door', start, 42)}.mp4"
    assert name == "front-door-20260102T030319.123Z-000042.mp4"
    assert (segment_number(name), segment_start_ns(name)) == (42, start)
    assert segment_start_ns("front-20269902T030319.123Z-000042.mp4") is None
    assert segment_number("holiday.mp4") is None


def test_a_missing_directory_holds_nothing(tmp_path: Path) -> None:
    assert run(tmp_path / "none", RecorderConfig()) == []
