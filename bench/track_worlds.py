"""Worlds with exact truth, and a detector that errs as real ones do. For `track_quality.py`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from veil.domain.geometry import Box

WIDTH, HEIGHT = 1280, 720
SCORE, LOW = 0.5, 0.2
Found = tuple[Box, float]


@dataclass(frozen=True)
class World:
    """Frames at `times_ns`: true boxes by object (None: not in the picture), and what a detector says."""

    name: str
    times_ns: tuple[int, ...]
    truth: tuple[tuple[Box | None, ...], ...]
    found: tuple[tuple[Found, ...], ...]

    @property
    def fps(self) -> float:
        return (len(self.times_ns) - 1) / ((self.times_ns[-1] - self.times_ns[0]) / 1e9)


Path = Callable[[float], Box | None]


def visible(box: Box) -> Box | None:
    inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= WIDTH and box.y1 <= HEIGHT
    return box if inside else None


def line(chance: random.Random, size: float, speed: float) -> Path:
    """Through the picture in a straight line at `speed` sizes a second, swaying a little as walkers do."""
    way = chance.choice([-1, 1])
    x = chance.uniform(0, WIDTH)
    y, sway, pace = chance.uniform(50, HEIGHT - 100), chance.uniform(0, 0.1), chance.uniform(1.5, 2.2)

    def at(t: float) -> Box | None:
        cx = (x + way * speed * size * t) % (WIDTH + 200) - 100
        cy = y + sway * size * math.sin(2 * math.pi * pace * t)
        return visible(Box(cx - size / 2, cy - size * 0.6, cx + size / 2, cy + size * 0.6))

    return at


def stop_and_go(chance: random.Random, size: float) -> Path:
    """Walks, stands, turns round: no motion model is right about it."""
    x, y = chance.uniform(200, WIDTH - 200), chance.uniform(100, HEIGHT - 100)
    legs = [(chance.uniform(0.6, 2.0), chance.choice([-3, -1.5, 0, 0, 1.5, 3])) for _ in range(40)]

    def at(t: float) -> Box | None:
        cx = x
        for lasts, speed in legs:
            cx += speed * size * min(t, lasts)
            t -= lasts
            if t <= 0:
                break
        return visible(Box(cx - size / 2, y - size * 0.6, cx + size / 2, y + size * 0.6))

    return at


@dataclass(frozen=True)
class Errors:
    """How the simulated detector errs.

    Attributes:
        lost_per_s, lost_s: how often an object is lost in a burst, and for how long on average.
        missed: share of other frames in which it is not found.
        jitter: standard deviation of each edge, in shares of the size.
        weak: share of the time (in waves) in which scores lie between `LOW` and `SCORE`.
        every: an object is found in each `every`-th frame only (tiles in rotation).
        false_per_frame: detections of nothing.
    """

    lost_per_s: float = 0.3
    lost_s: float = 0.25
    missed: float = 0.05
    jitter: float = 0.03
    weak: float = 0.15
    every: int = 1
    false_per_frame: float = 0.02


def world(name: str, paths: list[Path], times_s: list[float], errors: Errors, seed: int) -> World:
    """What a detector with `errors` says of things on `paths`."""
    chance = random.Random(seed)
    lost_until = [-1.0] * len(paths)
    phase = [chance.uniform(0, 10) for _ in paths]
    truth, found = [], []
    before = times_s[0]
    for number, t in enumerate(times_s):
        boxes = tuple(path(t) for path in paths)
        rows: list[Found] = []
        for index, box in enumerate(boxes):
            if chance.random() < errors.lost_per_s * (t - before):
                lost_until[index] = t + chance.expovariate(1 / errors.lost_s)
            if box is None or t < lost_until[index] or chance.random() < errors.missed:
                continue
            if (number + index) % errors.every:
                continue
            is_weak = (t / 1.7 + phase[index]) % 1 < errors.weak
            score = chance.uniform(LOW, SCORE) if is_weak else chance.uniform(SCORE, 0.95)
            size = (box.width + box.height) / 2
            edges = [
                edge + chance.gauss(0, errors.jitter * size) for edge in (box.x0, box.y0, box.x1, box.y1)
            ]
            rows.append((Box(*edges), score))
        if chance.random() < errors.false_per_frame:
            x, y = chance.uniform(0, WIDTH - 40), chance.uniform(0, HEIGHT - 40)
            rows.append((Box(x, y, x + 40, y + 40), chance.uniform(LOW, 0.7)))
        truth.append(boxes)
        found.append(tuple(rows))
        before = t
    return World(name, tuple(round(t * 1e9) for t in times_s), tuple(truth), tuple(found))


def even_times(fps: float, seconds: float) -> list[float]:
    return [n / fps for n in range(int(fps * seconds))]


def worlds(seed: int) -> list[World]:
    """The set that is compared."""
    chance = random.Random(seed)
    thirty, ten = even_times(30, 12), even_times(10, 12)
    uneven = [0.0]
    while uneven[-1] < 12:
        uneven.append(uneven[-1] + chance.choice([1 / 30, 1 / 30, 1 / 15, 1 / 5]))
    walkers = [line(chance, chance.uniform(24, 60), chance.uniform(0.5, 4)) for _ in range(12)]
    far = [line(chance, chance.uniform(12, 20), chance.uniform(0.5, 3)) for _ in range(10)]
    plates = [line(chance, chance.uniform(24, 50), chance.uniform(4, 12)) for _ in range(5)]
    restless = [stop_and_go(chance, chance.uniform(24, 60)) for _ in range(8)]
    return [
        world("people crossing, 30 fps", walkers, thirty, Errors(), seed),
        world("people crossing, uneven fps", walkers, uneven, Errors(), seed + 1),
        world("far faces, tiles 1 in 4", far, thirty, Errors(every=4, missed=0.1), seed + 2),
        world("fast plates, 10 fps", plates, ten, Errors(lost_per_s=0.2), seed + 3),
        world("stop and go, 30 fps", restless, thirty, Errors(lost_per_s=0.6, lost_s=0.4), seed + 4),
        world("weak scores, 30 fps", walkers, thirty, Errors(weak=0.5), seed + 5),
    ]
