"""Temperatures of the machine, from the kernel's thermal zones (x86, Jetson, Raspberry Pi alike)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

THERMAL = Path("/sys/class/thermal")
# Zones that are switched off report this or less instead of failing.
_IMPOSSIBLE_C = -40.0


@dataclass(frozen=True, slots=True)
class Temperature:
    """One zone.

    Attributes:
        zone: the kernel's name (`x86_pkg_temp`, `cpu-thermal`, `CPU-therm`, ...).
        celsius: now.
        limit_celsius: where the kernel throttles or switches off; None where the zone does not say.
    """

    zone: str
    celsius: float
    limit_celsius: float | None

    @property
    def is_hot(self) -> bool:
        """Within five degrees of the limit."""
        return self.limit_celsius is not None and self.celsius >= self.limit_celsius - 5


def temperatures(root: Path = THERMAL) -> tuple[Temperature, ...]:
    """All zones that answer; a zone whose sensor sleeps (EAGAIN on Jetson) is left out."""
    found = []
    for zone in sorted(root.glob("thermal_zone*")):
        name = _text(zone / "type")
        celsius = _celsius(zone / "temp")
        if name and celsius is not None and celsius > _IMPOSSIBLE_C:
            found.append(Temperature(name, celsius, min(_limits(zone), default=None)))
    return tuple(found)


def _limits(zone: Path) -> Iterator[float]:
    for kind in zone.glob("trip_point_*_type"):
        if _text(kind) in {"passive", "hot", "critical"}:
            celsius = _celsius(kind.with_name(kind.name.replace("_type", "_temp")))
            if celsius is not None and celsius > 0:
                yield celsius


def _celsius(path: Path) -> float | None:
    text = _text(path)
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
