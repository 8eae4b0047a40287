"""From a camera's timestamps to those of its stream: no drift, and no pictures piled up on one moment."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veil.capture.intake import LiveTimeline as CameraTimeline
from veil.frames.picture import FrameInfo
from veil.timeline import LiveTimeline

TICK = Fraction(1, 90_000)
STEP = 3_600
S = 1_000_000_000


def leave(stamps: Iterable[int | None], captured_s: Iterable[float], *, rate: float = 25.0) -> list[float]:
    """Seconds at which pictures with these timestamps stand in the stream."""
    camera, stream = CameraTimeline(TICK, rate), LiveTimeline(0)
    placed = []
    for number, (stamp, at) in enumerate(zip(stamps, captured_s, strict=True)):
        info = FrameInfo(number, camera.place(stamp), TICK, 0, int(at * S), 64, 48)
        placed.append(stream.place(info).pts / 90_000)
    return placed


@pytest.mark.parametrize("kind", ["jitter", "repeated", "reordered"])
def test_pictures_of_an_unsteady_clock_keep_a_distance_and_the_time(kind: str) -> None:
    rng = np.random.default_rng(3)
    count = 15_000
    stamps = np.arange(count) * STEP
    if kind == "jitter":
        stamps = stamps + rng.integers(-2_970, 2_971, count)
    elif kind == "repeated":
        stamps[1::50] = stamps[0::50]
    else:
        stamps[1::50], stamps[2::50] = stamps[2::50].copy(), stamps[1::50].copy()
    captured = np.arange(count) / 25
    placed = np.array(leave((stamps - stamps[0]).tolist(), captured))
    # Two may come as close as they were stamped, never several.
    assert (placed[3:] - placed[:-3]).min() > 0.03
    assert np.abs(placed - captured).max() < 0.2


def test_a_clock_that_runs_too_fast_is_slowed_without_piling_pictures_up() -> None:
    captured = np.arange(30_000) / 25
    placed = np.array(leave([round(at * 1.01 * 90_000) for at in captured], captured))
    assert np.diff(placed).min() > 0.03
    assert (placed - captured).max() < 2.1


def test_a_clock_that_runs_too_slowly_is_put_right_at_once() -> None:
    captured = np.arange(30_000) / 25
    placed = np.array(leave([round(at * 0.99 * 90_000) for at in captured], captured))
    assert (captured - placed).max() < 2.1
    assert np.diff(placed).min() > 0.03


def test_seconds_ahead_are_made_up_for() -> None:
    """A clock that was set forward by four seconds in mid-stream."""
    captured = np.arange(2_000) / 25
    stamps = [round((at + (4 if at > 20 else 0)) * 90_000) for at in captured]
    placed = np.array(leave(stamps, captured))
    assert np.diff(placed).min() > 0.03
    assert abs(placed[-1] - captured[-1]) < 2.1


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**33), 2**33)), min_size=2, max_size=60),
    st.lists(st.floats(0, 0.2), min_size=60, max_size=60),
)
def test_whatever_a_camera_stamps_the_stream_rises(stamps: list[int | None], waits: list[float]) -> None:
    captured = np.cumsum(waits[: len(stamps)])
    placed = leave(stamps, captured)
    assert all(a < b for a, b in pairwise(placed))
