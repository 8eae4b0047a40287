"""What tracker, look-back and policy cost a frame, at 10, 100 and 300 tracks: medians of CPU microseconds."""

from __future__ import annotations

import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

from veil.config import MaskConfig, PolicyConfig, TrackerConfig
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.mask.lookback import LookBack
from veil.mask.policy import MaskPolicy
from veil.track.tracker import Tracker

T = TypeVar("T")
FRAMES = 120
FRAME_NS = 33_333_333
LOOKBACK_NS, HOLD_NS = 500_000_000, 1_000_000_000


def world(count: int, missed: float, seed: int = 1) -> list[list[Detection]]:
    """Objects that move in straight lines over 1080p, a share of them missed in each frame."""
    chance = random.Random(seed)
    things = [
        (chance.uniform(0, 1880), chance.uniform(0, 1040), chance.gauss(0, 2), chance.gauss(0, 1))
        for _ in range(count)
    ]
    return [
        [
            Detection(
                ObjectClass.FACE if number % 3 else ObjectClass.PLATE,
                Box(x + vx * frame, y + vy * frame, x + vx * frame + 30, y + vy * frame + 36),
                0.8,
            )
            for number, (x, y, vx, vy) in enumerate(things)
            if chance.random() >= missed
        ]
        for frame in range(FRAMES)
    ]


def measure(count: int, missed: float, mask: MaskConfig) -> dict[str, float]:
    """Median microseconds a frame of each stage, after the window has filled."""
    tracker = Tracker(TrackerConfig(), {kind: ClassThresholds(0.5, 0.2) for kind in ObjectClass})
    window, policy = LookBack(LOOKBACK_NS, HOLD_NS, 0.25), MaskPolicy(mask, 1920, 1080)
    spent: dict[str, list[float]] = {"track": [], "look-back": [], "policy": []}
    held: list[int] = []

    def timed(stage: str, work: Callable[[], T]) -> T:
        start = time.thread_time_ns()
        result = work()
        spent[stage].append((time.thread_time_ns() - start) / 1000)
        return result

    for number, detections in enumerate(world(count, missed)):
        now = number * FRAME_NS
        tracks = timed("track", lambda found=detections, now=now: tracker.update(found, now))
        held.append(len(tracks))
        start = time.thread_time_ns()
        window.push(number, now, tracks)
        for due in window.due():
            targets = window.take(due)
            spent["look-back"].append((time.thread_time_ns() - start) / 1000)
            timed("policy", lambda due=due, targets=targets: policy.cover(due, ("bench",), targets))
            start = time.thread_time_ns()
    skip = FRAMES // 3
    result = {stage: statistics.median(values[skip:]) for stage, values in spent.items()}
    return {"tracks": statistics.median(held[skip:]), **result}


def main() -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, 1080p, 30 fps, 500 ms look-back")
    names = ("objects", "missed", "operator", "tracks", "track", "look-back", "policy")
    print(" ".join(f"{name:>9}" for name in names))
    for count in (10, 100, 300):
        for missed in (0.0, 0.2):
            for operator in ("solid", "pixelate"):
                one = PolicyConfig.model_validate({"operator": operator})
                row = measure(count, missed, MaskConfig(face=one, plate=one))
                print(
                    f"{count:>9} {missed:>9.0%} {operator:>9} "
                    + " ".join(f"{row[name]:>9.0f}" for name in names[3:])
                )


if __name__ == "__main__":
    main()
