"""Asks the detector with a deadline, and believes no answer that is not for the frame it asked about."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol

from veil.domain.clock import NANOSECONDS, Clock
from veil.domain.cover import Reason
from veil.domain.detection import Detection, DetectionReport, DetectionTable, ObjectClass
from veil.errors import DetectorError, DetectorStuckError, LeaseError
from veil.frames.picture import FrameInfo
from veil.frames.raw import RawFrame


class Detects(Protocol):
    """The one verb of a detector that the guard needs."""

    def detect(self, raw: RawFrame) -> DetectionReport: ...


_NOTE_INTERVAL_NS: Final = NANOSECONDS


def objection(report: DetectionReport, info: FrameInfo) -> Reason | None:
    """Why a report must not be believed for the frame `info`; None where it may."""
    if report.sequence != info.sequence:
        return Reason.SEQUENCE_MISMATCH
    try:
        found = report.detections
        all_sound = found.is_sound if isinstance(found, DetectionTable) else all(map(_is_sound, found))
        sound = bool(report.detectors) and all_sound
    except (AttributeError, TypeError, ValueError):
        sound = False
    return None if sound else Reason.DETECTOR_INVALID


def _is_sound(detection: Detection) -> bool:
    # A NaN is in no range.
    return isinstance(detection.kind, ObjectClass) and detection.box.is_finite and 0 <= detection.score <= 1


class DetectorGuard:
    """Runs a detector on a thread of its own, so that one that hangs cannot hold the camera's frames.

    Args:
        deadline_s: an answer later than this is not used; the frame is hidden as a whole.
        stuck_after_s: a detector that is silent, or only fails, for this long ends the process.
        failed: told the text of what the detector raised, at most once a second. What it raises itself (no
            log, no video) comes out of the next `ask`.
    """

    def __init__(
        self,
        detector: Detects,
        *,
        deadline_s: float,
        stuck_after_s: float,
        clock: Clock,
        failed: Callable[[str], None],
    ) -> None:
        self._detector = detector
        self._deadline_s = deadline_s
        self._stuck_after_ns = int(stuck_after_s * NANOSECONDS)
        self._clock = clock
        self._failed = failed
        self._changed = threading.Condition()
        self._question: RawFrame | None = None
        self._asked: RawFrame | None = None
        self._answer: DetectionReport | Reason | None = None
        self._trouble_since_ns: int | None = None
        self._noted_ns: int | None = None
        self._broken: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="detector", daemon=True)
        self._thread.start()

    def ask(self, raw: RawFrame) -> DetectionReport | Reason:
        """The report for `raw`, or why there is none. Blocks for `deadline_s` at most.

        Raises DetectorStuckError when there has been no answer for `stuck_after_s`, DetectorError when there
        were only bad ones for as long, and whatever ended the detector's thread.
        """
        answer = self._ask(raw)
        if self._broken is not None:
            raise self._broken
        if isinstance(answer, DetectionReport):
            answer = objection(answer, raw.info) or answer
        now = self._clock.monotonic_ns()
        if isinstance(answer, DetectionReport):
            self._trouble_since_ns = None
            return answer
        if self._trouble_since_ns is None:
            self._trouble_since_ns = now
        elif now - self._trouble_since_ns > self._stuck_after_ns:
            waited = (now - self._trouble_since_ns) / NANOSECONDS
            if answer in {Reason.DETECTOR_LATE, Reason.DETECTOR_STALE}:
                raise DetectorStuckError(f"The detector has not answered in time for {waited:.1f} s.")
            raise DetectorError(f"The detector has given no valid answer for {waited:.1f} s ({answer}).")
        return answer

    def _ask(self, raw: RawFrame) -> DetectionReport | Reason:
        with self._changed:
            if self._asked is not None:
                return Reason.DETECTOR_STALE
            self._question = self._asked = raw
            self._answer = None
            self._changed.notify_all()
            return self._await_answer()

    def _await_answer(self) -> DetectionReport | Reason:
        self._changed.wait_for(lambda: self._answer is not None, self._deadline_s)
        return self._answer or Reason.DETECTOR_LATE

    def _work(self) -> None:
        while (raw := self._next_question()) is not None:
            try:
                answer = self._look(raw)
            except BaseException as error:  # noqa: BLE001  ask() raises it on the caller's thread
                self._broken = error
                answer = Reason.DETECTOR_FAILED
            with self._changed:
                self._answer = answer
                self._asked = None
                self._changed.notify_all()

    def _look(self, raw: RawFrame) -> DetectionReport | Reason:
        try:
            report: object = self._detector.detect(raw)
        except LeaseError:
            return Reason.DETECTOR_LATE
        except Exception as error:  # noqa: BLE001  whatever a runtime raises, the frame is hidden
            self._note(error)
            return Reason.DETECTOR_FAILED
        return report if isinstance(report, DetectionReport) else Reason.DETECTOR_INVALID

    def _note(self, error: Exception) -> None:
        now = self._clock.monotonic_ns()
        if self._noted_ns is None or now - self._noted_ns >= _NOTE_INTERVAL_NS:
            self._noted_ns = now
            self._failed(f"{type(error).__name__}: {error}")

    def _next_question(self) -> RawFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._question is not None or self._closed)
            question, self._question = self._question, None
            return question

    def close(self) -> None:
        """Ends the thread after its current question; a stuck one is left behind (it is a daemon thread)."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=self._deadline_s)

    def __enter__(self) -> DetectorGuard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
