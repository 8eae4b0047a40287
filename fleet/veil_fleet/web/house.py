"""What the pages of one process share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine

from veil_fleet.settings import FleetSettings
from veil_fleet.web.sessions import Sessions
from veil_fleet.web.throttle import Throttle, Turnstile

HERE = Path(__file__).parent


def wall_ms() -> int:
    """POSIX milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class House:
    """Made once by `create_app`.

    Attributes:
        now_ms: POSIX milliseconds, the clock of the tables.
        by_name, by_address: failed sign-ins.
        commands: those that wait for a box's answer.
        passwords: checks of passwords, each of which takes 64 MiB.
        strangers: how often requests without a session are written to the list of accesses.
    """

    settings: FleetSettings
    engine: Engine
    templates: Jinja2Templates
    sessions: Sessions
    now_ms: Callable[[], int] = wall_ms
    monotonic: Callable[[], float] = time.monotonic
    by_name: Throttle = field(init=False)
    by_address: Throttle = field(init=False)
    strangers: Throttle = field(init=False)
    commands: Turnstile = field(default_factory=lambda: Turnstile(8, 16))
    passwords: Turnstile = field(default_factory=lambda: Turnstile(2, 16))

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", Throttle(10, 600, self.monotonic))
        object.__setattr__(self, "by_address", Throttle(30, 600, self.monotonic))
        object.__setattr__(self, "strangers", Throttle(120, 60, self.monotonic))


def house_of(request: Request) -> House:
    house = request.app.state.house
    if not isinstance(house, House):
        raise TypeError("the application was not made by create_app")
    return house
