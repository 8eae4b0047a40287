"""Whatever moves in a straight line, at any speed, rate and size: properties of tracker and look-back."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mask.parts import (
    GROWTH_PER_S,
    HOLD_S,
    LOOKBACK_MS,
    contains,
    run,
)
from veil.domain.geometry import Box
from veil.mask.sightings import LIKELY_SPEED
from veil.track.motion import BASELINE_S

speeds = st.floats(-12, 12)


@st.composite
def linear(draw: st.DrawFn) -> tuple[list[int], list[Box]]:
    """Times of a variable frame rate and the true boxes of something that moves in a straight line."""
    steps = draw(st.lists(st.integers(8, 120), min_size=25, max_size=60))
    times = [sum(steps[: at + 1]) for at in range(len(steps))]
    width, height = draw(st.floats(12, 120)), draw(st.floats(12, 120))
    size = (width + height) / 2
    dx, dy = draw(speeds) * size / 1000, draw(speeds) * size / 1000
    boxes = [
        Box(500 + dx * t, 500 + dy * t, 500 + dx * t + width, 500 + dy * t + height).shifted(-width / 2, 0)
        for t in times
    ]
    return times, boxes


def pace_of(times: list[int], boxes: list[Box]) -> float:
    """Sizes a second, along the faster axis."""
    size = (boxes[0].width + boxes[0].height) / 2
    moved = boxes[1].shifted(-boxes[0].x0, -boxes[0].y0)
    return max(abs(moved.x0), abs(moved.y0)) * 1000 / (times[1] - times[0]) / size


def leaves_with(times: list[int], number: int, lookback_ms: int = LOOKBACK_MS) -> int:
    """The newest frame that is known when frame `number` leaves."""
    return next((n for n, t in enumerate(times) if t >= times[number] + lookback_ms), len(times) - 1)


@given(linear(), st.integers(5, 20))
@settings(max_examples=60, deadline=None)
def test_a_linear_object_is_covered_before_its_first_sighting(
    world: tuple[list[int], list[Box]], first: int
) -> None:
    """At any speed where 0.4 s of sightings are known when the frame leaves, else up to 0.7 sizes/s."""
    times, boxes = world
    out = run([(t, box, n >= first) for n, (t, box) in enumerate(zip(times, boxes, strict=True))])
    pace = pace_of(times, boxes)
    for number in range(first):
        if times[first] - times[number] > LOOKBACK_MS:
            continue
        newest = leaves_with(times, number)
        if times[newest] - times[first] >= 400 or pace <= LIKELY_SPEED:
            assert any(contains(target.box, boxes[number]) for target in out[number]), number


@given(linear(), st.integers(6, 12), st.integers(1, 12), st.sampled_from([0, 200, 500, 1500]))
@settings(max_examples=60, deadline=None)
def test_an_object_lost_and_found_within_hold_is_covered_throughout(
    world: tuple[list[int], list[Box]], lost: int, missing: int, lookback_ms: int
) -> None:
    """At any speed where its return, or 0.25 s before the gap, are known when a frame leaves; else as far as
    its box grows."""
    times, boxes = world
    found = lost + missing
    if times[found] - times[lost - 1] > HOLD_S * 1000:
        return
    out = run(
        [(t, box, not lost <= n < found) for n, (t, box) in enumerate(zip(times, boxes, strict=True))],
        lookback_ms,
    )
    is_predicted = times[lost - 1] - times[0] >= BASELINE_S * 1000 or pace_of(times, boxes) <= GROWTH_PER_S
    for number in range(len(times)):
        is_known = not lost <= number < found or found <= leaves_with(times, number, lookback_ms)
        if is_known or is_predicted:
            assert any(contains(target.box, boxes[number]) for target in out[number]), number


@given(linear(), st.integers(0, 2**32), st.floats(0, 0.4))
@settings(max_examples=50, deadline=None)
def test_random_misses_leave_no_frame_uncovered(
    world: tuple[list[int], list[Box]], seed: int, missed: float
) -> None:
    times, boxes = world
    chance = random.Random(seed)
    hits = [chance.random() >= missed for _ in times]
    last_hit = max((n for n, hit in enumerate(hits) if hit), default=-1)
    second = [n for n, hit in enumerate(hits) if hit][1:2]
    out = run([(t, box, hit) for t, box, hit in zip(times, boxes, hits, strict=True)])
    for number in range(second[0] if second else 0, last_hit + 1):
        assert any(contains(target.box, boxes[number]) for target in out[number]), number
