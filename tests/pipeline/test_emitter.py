"""What the way out of a camera promises."""

from __future__ import annotations

import numpy as np
import pytest

from oracle import decode_packets
from pipeline.output_made import HEIGHT, WIDTH, Output
from veil.domain.cover import Reason, Regions, WholeFrame
from veil.domain.geometry import Box
from veil.errors import LogError

FACE = Box(20, 20, 44, 44)


def test_a_reason_instead_of_a_report_hides_the_whole_frame() -> None:
    with Output(lookback_s=0.0) as output:
        for reason in (Reason.DETECTOR_LATE, Reason.DETECTOR_STALE, Reason.DETECTOR_FAILED):
            output.frame(reason=reason)
            assert output.left[-1].cover == WholeFrame(output.left[-1].sequence, reason)
        pictures = decode_packets(output.packets)
    assert [int(picture.std()) for picture in pictures] == [0, 0, 0]


def test_whole_frames_are_one_event_when_they_begin_and_one_when_they_end() -> None:
    with Output(lookback_s=0.0) as output:
        for _ in range(20):
            output.frame(reason=Reason.DETECTOR_LATE)
        for _ in range(5):
            output.frame()
        output.quiet(2.5)
        events = [event.data for event in output.log.events if event.kind == "whole_frame"]
    assert [event["state"] for event in events] == ["begun", "ended"]
    assert events[1]["frames"] == 20


def test_look_back_covers_the_frames_before_the_first_detection() -> None:
    with Output(lookback_s=0.5) as output:
        for _ in range(20):
            output.frame()
        first = output.frame(box=FACE)
        for _ in range(20):
            output.frame(box=FACE)
        before = range(first - 12, first)
        assert all(output.covered(number, FACE) for number in before)
        assert not output.covered(first - 14, FACE)


def test_without_look_back_the_frames_before_are_not_covered() -> None:
    with Output(lookback_s=0.0) as output:
        for _ in range(5):
            output.frame()
        first = output.frame(box=FACE)
        assert output.covered(first, FACE)
        assert not output.covered(first - 1, FACE)


def test_a_frame_leaves_only_when_its_look_back_is_over() -> None:
    with Output(lookback_s=0.5) as output:
        for _ in range(13):
            output.frame()
        assert output.numbers() == []
        output.frame()
        assert output.numbers() == [0]


def test_a_detector_that_takes_its_time_does_not_shorten_the_look_back() -> None:
    with Output(lookback_s=0.5) as output:
        for _ in range(10):
            output.frame()
        output.busy(3.0)
        assert output.numbers() == []
        output.frame(box=FACE)
        output.quiet(2.0)
        assert output.covered(0, FACE)


def test_when_the_source_stalls_the_frames_that_wait_leave_masked() -> None:
    with Output(lookback_s=0.5) as output:
        for _ in range(8):
            output.frame(box=FACE)
        output.quiet(0.3)
        assert output.numbers() == []
        output.quiet(0.8)
        assert output.numbers() == list(range(8))
        assert all(output.covered(number, FACE) for number in range(8))


def test_a_camera_that_sends_more_than_it_said_loses_frames_and_no_look_back() -> None:
    with Output(lookback_s=0.5, capacity=6) as output:
        for _ in range(12):
            output.frame()
        assert output.numbers() == []
        assert output.stats.snapshot().dropped["lookback_full"] == 6
        # The one that is seen is dropped itself; what it said holds for those that wait.
        output.frame(box=FACE)
        output.quiet(2.0)
        assert output.numbers() == list(range(6))
        assert all(output.covered(number, FACE) for number in range(6))
        assert output.pool.free == output.pool.count


def test_a_file_loses_no_frame_even_where_too_many_wait() -> None:
    with Output(lookback_s=0.5, live=False, capacity=6) as output:
        for _ in range(30):
            output.frame()
        output.emitter.finish()
        assert output.numbers() == list(range(30))


def test_a_new_epoch_lets_go_of_what_waits_masked_and_begins_anew() -> None:
    with Output(lookback_s=0.5) as output:
        for _ in range(5):
            output.frame(box=FACE)
        output.frame(epoch=1)
        assert output.numbers() == list(range(5))
        assert all(output.covered(number, FACE) for number in range(5))
        assert len(output.opened) == 1


def test_nothing_that_waits_leaves_after_a_failure() -> None:
    with Output(lookback_s=0.5) as output:
        for _ in range(10):
            output.frame()
        output.emitter.abandon()
        assert output.left == []
        assert output.packets == []
        assert output.pool.free == output.pool.count


def test_a_slate_is_shown_before_any_frame_came() -> None:
    with Output() as output:
        output.quiet(0.6)
        assert output.left == []
        output.quiet(0.2)
        assert [one.is_slate for one in output.left] == [True]
        assert output.packets[0].keyframe
        assert output.log.kinds() == ["slate_started"]


def test_a_slate_while_the_first_frame_waits_has_its_size_so_that_one_stream_goes_on() -> None:
    with Output(size=(1280, 720)) as output:
        output.quiet(0.4)
        while not output.left:
            output.frame()
            output.emitter.tick()
        assert output.left[0].is_slate
        while output.left[-1].is_slate:
            output.frame()
            output.emitter.tick()
        assert [(spec.width, spec.height) for spec in output.opened] == [(WIDTH, HEIGHT)]


def test_slates_follow_the_last_frame_within_their_time_and_end_at_the_first_frame() -> None:
    with Output(lookback_s=0.0) as output:
        output.frame()
        last_ns = output.left[-1].at_ns
        output.quiet(3.0)
        slates = [one for one in output.left if one.is_slate]
        assert slates[0].at_ns - last_ns <= 0.75e9
        gaps = np.diff([one.at_ns for one in slates])
        assert gaps.max() <= 0.56e9
        output.frame()
        output.emitter.tick()
        assert not output.left[-1].is_slate
        assert output.log.kinds() == ["slate_started", "slate_ended"]
        pts = [packet.pts for packet in output.packets]
        assert pts == sorted(set(pts))


def test_files_have_no_slates() -> None:
    with Output(live=False) as output:
        output.quiet(5.0)
        assert output.left == []


def test_a_log_that_cannot_be_appended_to_stops_the_video() -> None:
    with Output(lookback_s=0.0) as output:
        output.frame()
        output.log.is_broken = True
        with pytest.raises(LogError):
            output.frame(reason=Reason.DETECTOR_LATE)
        with pytest.raises(LogError):
            output.quiet(2.0)
        assert output.pool.free == output.pool.count
        assert len(output.packets) == 1


def test_slots_come_back_when_taking_in_a_frame_fails() -> None:
    with Output(lookback_s=0.5) as output:
        output.frame(reason=Reason.DETECTOR_LATE)
        output.log.is_broken = True
        with pytest.raises(LogError):
            output.frame(epoch=1)
        output.emitter.abandon()
        assert output.pool.free == output.pool.count


def test_covers_say_which_detector_ran() -> None:
    with Output(lookback_s=0.0) as output:
        output.frame(box=FACE)
        cover = output.left[-1].cover
        assert isinstance(cover, Regions)
        assert cover.detectors == ("made@1",)
        assert cover.sequence == output.left[-1].sequence
