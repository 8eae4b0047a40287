"""Numbers of cameras over time, gathered in SQL into as many points as a plot can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sqlalchemy import Connection, func, select

from veil_fleet.store.tables import HealthPoint

MAX_CAMERAS: Final = 64


class Span(Enum):
    """How far back a plot goes: its name in URLs, words, length and width of a point in milliseconds."""

    HOUR = ("1h", "1 hour", 3_600_000, 60_000)
    DAY = ("24h", "24 hours", 86_400_000, 900_000)
    WEEK = ("7d", "7 days", 604_800_000, 7_200_000)

    def __init__(self, key: str, words: str, length_ms: int, step_ms: int) -> None:
        self.key = key
        self.words = words
        self.length_ms = length_ms
        self.step_ms = step_ms

    @classmethod
    def parse(cls, key: str) -> Span:
        """The hour where `key` is none of them."""
        return next((span for span in cls if span.key == key), cls.HOUR)


@dataclass(frozen=True, slots=True)
class Point:
    """The numbers of one camera in one step of time.

    Attributes:
        time_ms: where the step begins.
        latency_ms, detector_ms: the highest 99th percentile, and the mean median.
        dropped, covers: frames in this step; None where the step before is not known.
    """

    time_ms: int
    fps_in: float
    fps_out: float
    latency_ms: float
    detector_ms: float
    dropped: int | None
    covers: int | None


def read_points(connection: Connection, device: str, span: Span, now_ms: int) -> Mapping[str, list[Point]]:
    """By camera, in order of time. Steps without a message are missing."""
    step = HealthPoint.time_ms // span.step_ms
    # One step more than is shown: counters need the one before.
    first_ms = now_ms - now_ms % span.step_ms - span.length_ms - span.step_ms
    rows = connection.execute(
        select(
            HealthPoint.camera,
            step.label("step"),
            func.avg(HealthPoint.fps_in),
            func.avg(HealthPoint.fps_out),
            func.max(HealthPoint.latency_p99_ms),
            func.avg(HealthPoint.detector_p50_ms),
            func.max(HealthPoint.dropped),
            func.max(HealthPoint.whole_frames),
        )
        .where(HealthPoint.device == device, HealthPoint.time_ms >= first_ms, HealthPoint.time_ms <= now_ms)
        .group_by(HealthPoint.camera, step)
        .order_by(HealthPoint.camera, step)
        .limit(MAX_CAMERAS * (span.length_ms // span.step_ms + 3))
    )
    made: dict[str, list[Point]] = {}
    last: dict[str, tuple[int, int, int]] = {}
    for camera, number, fps_in, fps_out, latency, detector, dropped, covers in rows:
        at, old_dropped, old_covers = last.get(camera, (-1, 0, 0))
        follows = at == number - 1
        last[camera] = (number, dropped, covers)
        if number * span.step_ms <= first_ms:
            continue
        made.setdefault(camera, []).append(
            Point(
                number * span.step_ms,
                fps_in,
                fps_out,
                latency,
                detector,
                _grown(old_dropped, dropped) if follows else None,
                _grown(old_covers, covers) if follows else None,
            )
        )
    return made


def _grown(before: int, after: int) -> int:
    """How far a counter went; one that is smaller than before began anew."""
    return after - before if after >= before else after
