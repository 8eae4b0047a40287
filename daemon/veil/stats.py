"""What one camera counts: for health, summaries and evidence."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

_KEPT = 2048


def percentile(values: list[int], share: float) -> int:
    """The value below which `share` (0..1) of `values` lie; 0 for none."""
    if not values:
        return 0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All counts at one moment. Times in nanoseconds; rates are over the last frames.

    Attributes:
        slating: whether the newest picture that left is a slate, or none left yet.
        fault: why the source is not connected, "" while it is or was not tried.
    """

    frames_in: int
    frames_out: int
    slates: int
    whole: int
    masks: int
    dropped: Mapping[str, int]
    detections: Mapping[str, int]
    reconnects: int
    segments: int
    fps_in: float
    fps_out: float
    latency_p50_ns: int
    latency_p99_ns: int
    detect_p50_ns: int
    detect_p99_ns: int
    last_frame_ns: int
    picture: str
    connected: bool
    slating: bool
    fault: str
    stages: Mapping[str, int] = field(default_factory=dict)


class CameraStats:
    """Thread-safe counters of one camera process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._detections: Counter[str] = Counter()
        self._in: deque[int] = deque(maxlen=128)
        self._out: deque[int] = deque(maxlen=128)
        self._latency: deque[int] = deque(maxlen=_KEPT)
        self._detect: deque[int] = deque(maxlen=_KEPT)
        self._stages: dict[str, deque[int]] = {}
        self._picture = "ok"
        self._connected = False
        self._slating = True
        self._fault = ""
        self._sign_ns = time.monotonic_ns()

    @property
    def sign_ns(self) -> int:
        """Monotonic time of the source's last deed: a frame, a drop, a connection made or lost."""
        return self._sign_ns

    @property
    def has_sent(self) -> bool:
        """Whether any picture has left, a slate or a frame."""
        with self._lock:
            return self._count["frames_out"] + self._count["slates"] > 0

    def captured(self, now_ns: int) -> None:
        with self._lock:
            self._sign_ns = time.monotonic_ns()
            self._count["frames_in"] += 1
            self._in.append(now_ns)

    def dropped(self, reason: str) -> None:
        with self._lock:
            self._sign_ns = time.monotonic_ns()
            self._dropped[reason] += 1

    def detected(self, by_class: Mapping[str, int], elapsed_ns: int) -> None:
        with self._lock:
            self._detections.update(by_class)
            self._detect.append(elapsed_ns)

    def emitted(self, now_ns: int, *, masks: int, latency_ns: int) -> None:
        with self._lock:
            self._slating = False
            self._count["frames_out"] += 1
            self._count["masks"] += masks
            self._out.append(now_ns)
            self._latency.append(latency_ns)

    def hidden(self) -> None:
        """A frame was hidden as a whole (it is counted by `emitted` too)."""
        with self._lock:
            self._count["whole"] += 1

    def slate(self) -> None:
        with self._lock:
            self._slating = True
            self._count["slates"] += 1

    def reconnected(self) -> None:
        with self._lock:
            self._count["reconnects"] += 1

    def segment(self) -> None:
        with self._lock:
            self._count["segments"] += 1

    def picture(self, state: str) -> None:
        with self._lock:
            self._picture = state

    def connection(self, *, connected: bool, fault: str = "") -> None:
        with self._lock:
            self._sign_ns = time.monotonic_ns()
            self._connected = connected
            self._fault = fault

    def stage(self, name: str, elapsed_ns: int) -> None:
        """One measurement of a stage's time, for the stage table."""
        with self._lock:
            self._stages.setdefault(name, deque(maxlen=_KEPT)).append(elapsed_ns)

    def snapshot(self) -> Snapshot:
        with self._lock:
            count = self._count.copy()
            latency, detect = list(self._latency), list(self._detect)
            kept = {name: list(times) for name, times in self._stages.items()}
            counts = partial(
                Snapshot,
                dropped=dict(self._dropped),
                detections=dict(self._detections),
                fps_in=_rate(self._in),
                fps_out=_rate(self._out),
                last_frame_ns=self._in[-1] if self._in else 0,
                picture=self._picture,
                connected=self._connected,
                slating=self._slating,
                fault=self._fault,
            )
        # Sorted after the lock was given back: frames do not wait for it.
        return counts(
            frames_in=count["frames_in"],
            frames_out=count["frames_out"],
            slates=count["slates"],
            whole=count["whole"],
            masks=count["masks"],
            reconnects=count["reconnects"],
            segments=count["segments"],
            latency_p50_ns=percentile(latency, 0.5),
            latency_p99_ns=percentile(latency, 0.99),
            detect_p50_ns=percentile(detect, 0.5),
            detect_p99_ns=percentile(detect, 0.99),
            stages={name: percentile(times, 0.5) for name, times in kept.items()},
        )


def _rate(times: deque[int]) -> float:
    if len(times) < 2 or times[-1] == times[0]:
        return 0.0
    return (len(times) - 1) * 1e9 / (times[-1] - times[0])
