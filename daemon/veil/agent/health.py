"""How the box and its cameras are: looked at once a second, told at intervals and when something changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from veil.agent.camera_watch import CameraWatch
from veil.agent.machine import Machine
from veil.audit.event import timestamp
from veil.config import Config
from veil.domain.clock import NANOSECONDS, Clock
from veil.messages.health import CameraHealth, CameraState, Health
from veil.places import CameraPlaces

LOOK_EVERY_S: Final = 1.0
SOONEST_S: Final = 5.0
"""Between two health messages at least, however often a camera changes; its state is told at once."""
_REASONS: Final = {
    "running": "",
    "slate": "the camera is away, or its picture is hidden as a whole",
    "stopped": "its process does not run",
    "hung": "its process does not answer",
}


@dataclass(frozen=True, slots=True)
class _Standing:
    """What of a camera is worth a message of its own."""

    condition: str
    picture: str
    connected: bool


class HealthWatch:
    """One thread's."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self._machine = Machine(config)
        self._look_at_s = 0.0
        self._told_s: float | None = None
        self._changed = False
        self._seen: dict[str, CameraHealth] = {}
        self._standing: dict[str, _Standing] = {}
        self.use(config)

    def use(self, config: Config) -> None:
        """Takes another configuration: cameras may have come and gone."""
        self._config = config
        self._machine.use(config)
        places = {name: CameraPlaces.of(config, name) for name in config.cameras}
        self._cameras = {name: CameraWatch(at.state, at.log, self._clock) for name, at in places.items()}
        self._seen = {name: seen for name, seen in self._seen.items() if name in places}
        self._standing = {name: standing for name, standing in self._standing.items() if name in places}

    @property
    def machine(self) -> Machine:
        return self._machine

    def look(self, now_s: float) -> list[CameraState]:
        """Once a second; the states of the cameras that are no longer as they were."""
        if now_s < self._look_at_s:
            return []
        self._look_at_s = now_s + LOOK_EVERY_S
        changed = []
        for name, camera in self._cameras.items():
            seen = self._seen[name] = camera.look()
            standing = _Standing(seen.condition, seen.picture, seen.connected)
            if self._standing.get(name) != standing:
                self._standing[name] = standing
                changed.append(self._state(name, seen))
        self._changed |= bool(changed)
        return changed

    def states(self) -> list[CameraState]:
        """Of all cameras, as they were seen last."""
        return [self._state(name, seen) for name, seen in self._seen.items()]

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for a health message."""
        if self._told_s is None:
            return True
        since_s = now_s - self._told_s
        return since_s >= self._config.agent.health_every_s or (self._changed and since_s >= SOONEST_S)

    def health(self, now_s: float, queue_events: int, queue_bytes: int) -> Health:
        """The message; it counts as told."""
        self._told_s, self._changed = now_s, False
        return Health(
            device=self._config.box.name,
            time=timestamp(self._clock.wall_ns()),
            cameras=dict(list(self._seen.items())[:64]),
            box=self._machine.look(queue_events, queue_bytes),
        )

    def _state(self, name: str, seen: CameraHealth) -> CameraState:
        return CameraState(
            camera=name,
            time=timestamp(self._clock.wall_ns()),
            condition=seen.condition,
            picture=seen.picture,
            connected=seen.connected,
            reason=_REASONS[seen.condition],
        )


def seconds(clock: Clock) -> float:
    """The monotonic clock in seconds."""
    return clock.monotonic_ns() / NANOSECONDS
