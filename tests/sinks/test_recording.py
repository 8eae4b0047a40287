"""What is said of a recording's frames, and what is kept of them while it is open."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from masked_media import Camera
from veil.audit.event import Event, Kind
from veil.audit.tally import FrameTally, Tally, packed
from veil.config import EncoderConfig, RecorderConfig
from veil.domain.clock import SystemClock
from veil.sinks.recorder import Recorder
from veil.sinks.recording import OnSegment, OnSetAside, Recording
from veil.stats import CameraStats

FAST = EncoderConfig(preset="ultrafast", bit_rate=400_000, keyframe_interval_s=1.0)
SECOND = 30


class Lines:
    """A log in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> int:
        self.events.append(event)
        return len(self.events) - 1


def settled(tally: Tally) -> bool:
    """Whether no more than the fragment that is not written yet waits, as soon as that is so."""
    deadline = time.monotonic() + 20
    while len(tally) > SECOND + 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return len(tally) <= SECOND + 1


@pytest.mark.parametrize(("segment_s", "closed"), [(3600, [150]), (2, [60, 60, 30])])
def test_counts_of_written_frames_are_summed_and_not_kept(
    tmp_path: Path, segment_s: int, closed: list[int]
) -> None:
    tally, log, clock = Tally(), Lines(), SystemClock()
    recorder = partial(
        Recorder,
        RecorderConfig(segment_s=segment_s, min_free_mib=0),
        camera="front",
        directory=tmp_path,
        clock=clock,
    )

    def make(segment: OnSegment, aside: OnSetAside) -> Recorder:
        return recorder(on_segment=segment, on_set_aside=aside)

    with Recording(make, log, tally, CameraStats(), {}) as recording:
        for packet in Camera().packets(150, FAST):
            tracks = packed({"face": (1, 2 + packet.sequence)})
            tally.add(FrameTally(packet.sequence, {"face": 2}, tracks, 700, {"solid": 2}, None))
            recording.publish(packet)
            if packet.sequence % 50 == 49:
                assert settled(tally)
    segments = [event.data for event in log.events if event.kind is Kind.SEGMENT_CLOSED]
    assert [segment["frames_masked"] for segment in segments] == closed
    assert [segment["masks"] for segment in segments] == [2 * frames for frames in closed]
    assert [segment["tracks"] for segment in segments] == [{"face": 1 + frames} for frames in closed]
