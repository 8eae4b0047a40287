"""What the guard around the detector promises."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from fault.parts import _LIES
from frames_made import info, noise
from veil.audit.log import note_fault
from veil.detect.guard import DetectorGuard, objection
from veil.domain.clock import SystemClock
from veil.domain.cover import Reason
from veil.domain.detection import Detection, DetectionReport, ObjectClass
from veil.domain.geometry import Box
from veil.errors import DetectorError, DetectorStuckError, LeaseError, LogError
from veil.frames.pool import SlotPool
from veil.frames.raw import RawFrame

Answer = Callable[[RawFrame], Any]


class _Detector:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def detect(self, raw: RawFrame) -> DetectionReport:
        report: DetectionReport = self.answer(raw)
        return report


def good(raw: RawFrame) -> DetectionReport:
    found = Detection(ObjectClass.FACE, Box(1, 2, 30, 40), 0.8)
    return DetectionReport(raw.info.sequence, (found,), ("made@1",))


@contextmanager
def guard(
    detector: _Detector,
    *,
    deadline_s: float = 0.1,
    stuck_after_s: float = 0.3,
    failed: Callable[[str], None] = lambda text: None,
) -> Iterator[DetectorGuard]:
    with DetectorGuard(
        detector, deadline_s=deadline_s, stuck_after_s=stuck_after_s, clock=SystemClock(), failed=failed
    ) as made:
        yield made


POOL = SlotPool(64, 48, 64)


def frame(sequence: int) -> RawFrame:
    return noise(POOL, info(sequence))


def test_a_good_answer_comes_through() -> None:
    with guard(_Detector(good)) as asked, frame(3) as raw:
        assert asked.ask(raw) == good(raw)


@pytest.mark.parametrize("name", sorted(_LIES))
def test_an_answer_that_makes_no_sense_is_a_reason_to_hide(name: str) -> None:
    with guard(_Detector(lambda raw: _LIES[name](good(raw)))) as asked, frame(3) as raw:
        expected = Reason.SEQUENCE_MISMATCH if name == "other_number" else Reason.DETECTOR_INVALID
        assert asked.ask(raw) is expected


def test_the_answer_for_another_frame_is_not_believed() -> None:
    with frame(3) as raw:
        assert objection(replace(good(raw), sequence=2), raw.info) is Reason.SEQUENCE_MISMATCH
        assert objection(good(raw), raw.info) is None
        nan = replace(good(raw), detections=(Detection(ObjectClass.FACE, Box(0, 0, 1, 1), math.nan),))
        assert objection(nan, raw.info) is Reason.DETECTOR_INVALID


def test_a_late_answer_is_dropped_and_never_taken_for_a_later_frame() -> None:
    release = threading.Event()

    def slow(raw: RawFrame) -> DetectionReport:
        report = good(raw)
        if raw.info.sequence == 0:
            release.wait(5)
        return report

    with guard(_Detector(slow), stuck_after_s=5.0) as asked:
        with frame(0) as raw:
            assert asked.ask(raw) is Reason.DETECTOR_LATE
        with frame(1) as raw:
            assert asked.ask(raw) is Reason.DETECTOR_STALE
        release.set()
        answers = []
        for sequence in range(2, 200):
            with frame(sequence) as raw:
                answers.append(asked.ask(raw))
                if isinstance(answers[-1], DetectionReport):
                    assert answers[-1].sequence == sequence
                    break
        assert isinstance(answers[-1], DetectionReport)


def test_a_hanging_detector_does_not_hold_frames_and_ends_the_process() -> None:
    release = threading.Event()

    def hangs(raw: RawFrame) -> DetectionReport:
        planes = raw.planes
        while not release.wait(0.01):
            planes.y.sum()
        return good(raw)

    with guard(_Detector(hangs)) as asked:
        with pytest.raises(DetectorStuckError):
            ask_on(asked)
        release.set()


def ask_on(asked: DetectorGuard) -> None:
    """Asks about frame after frame, as a camera at 50 frames a second."""
    free = POOL.free
    for sequence in range(10_000):
        with frame(sequence) as raw:
            assert isinstance(asked.ask(raw), Reason)
        assert POOL.free == free
        time.sleep(0.02)


def test_a_detector_that_only_fails_ends_the_process() -> None:
    def fails(raw: RawFrame) -> DetectionReport:
        raise RuntimeError("no")

    with guard(_Detector(fails), stuck_after_s=0.05) as asked, pytest.raises(DetectorError):
        ask_on(asked)


def test_failures_are_said_and_not_said_again_at_once() -> None:
    said: list[str] = []

    def fails(raw: RawFrame) -> DetectionReport:
        raise RuntimeError("out of memory")

    with guard(_Detector(fails), stuck_after_s=60.0, failed=said.append) as asked:
        for sequence in range(20):
            with frame(sequence) as raw:
                asked.ask(raw)
    assert said == ["RuntimeError: out of memory"]


def test_a_log_that_fails_in_the_detectors_thread_reaches_the_one_who_asks() -> None:
    def fails(raw: RawFrame) -> DetectionReport:
        raise RuntimeError("no")

    def no_log(text: str) -> None:
        raise LogError("no log, no video")

    with guard(_Detector(fails), failed=no_log) as asked, frame(0) as raw, pytest.raises(LogError):
        asked.ask(raw)


def test_what_ends_the_detectors_thread_reaches_the_one_who_asks() -> None:
    def leaves(raw: RawFrame) -> DetectionReport:
        raise SystemExit(3)

    with guard(_Detector(leaves)) as asked, frame(0) as raw, pytest.raises(SystemExit):
        asked.ask(raw)


def test_a_frame_that_was_taken_away_is_no_failure_of_the_detector() -> None:
    def taken(raw: RawFrame) -> DetectionReport:
        raise LeaseError("gone")

    said: list[str] = []
    with guard(_Detector(taken), failed=said.append) as asked, frame(0) as raw:
        assert asked.ask(raw) is Reason.DETECTOR_LATE
    assert said == []


def test_text_of_a_native_library_can_be_logged() -> None:
    class _Log:
        def append(self, event: Any) -> int:
            text: str = event.data["text"]
            text.encode()
            assert len(text) <= 300
            return 0

    note_fault(_Log(), "broken \udcff text " * 100)
