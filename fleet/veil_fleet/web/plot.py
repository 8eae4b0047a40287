"""Plots as SVG, drawn here: no script, no library, colours from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

WIDTH: Final = 360
HEIGHT: Final = 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 8, 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot: a name for the legend, and (POSIX ms, value) in order of time."""

    name: str
    points: Sequence[tuple[int, float | None]]


def draw(title: str, lines: Sequence[Line], first_ms: int, last_ms: int, step_ms: int) -> Markup:
    """An `<svg>`; where more than a step is missing the line is broken."""
    lines = [Line(line.name, [(at, _drawable(value)) for at, value in line.points]) for line in lines]
    top = _nice(max((value for line in lines for _, value in line.points if value is not None), default=0))
    span = max(1, last_ms - first_ms)

    def x(time_ms: int) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (time_ms - first_ms) / span

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(max(value, 0.0), top) / top

    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
    ]
    for share in (0.0, 0.5, 1.0):
        at = y(top * share)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="scale" x="{_LEFT - 5}" y="{at + 3.5:.1f}" text-anchor="end">'
            f"{_number(top * share)}</text>"
        )
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        time_ms = first_ms + int(span * share)
        parts.append(
            f'<text class="scale" x="{x(time_ms):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{_clock(time_ms, span)}</text>"
        )
    for number, line in enumerate(lines):
        path = _path(
            [(x(at), y(value), at) for at, value in line.points if value is not None and at >= first_ms],
            step_ms,
        )
        if path:
            parts.append(f'<path class="line line-{number}" d="{path}"/>')
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704  numbers, and the escaped title


def _drawable(value: float | None) -> float | None:
    """A box may say any number: what no plot can show is left out."""
    return value if value is not None and math.isfinite(value) and 0 <= value < 1e12 else None


def _path(points: Sequence[tuple[float, float, int]], step_ms: int) -> str:
    made, before = [], None
    for x, y, at in points:
        joined = before is not None and at - before <= step_ms * 1.5
        # A point alone is drawn as a dot: a line of no length with round ends.
        made.append(f"L{x:.1f} {y:.1f}" if joined else f"M{x:.1f} {y:.1f}h0")
        before = at
    return "".join(made)


def _nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * 0.999)


def _number(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.3g}{unit}"
    return f"{value:.4g}"


def _clock(time_ms: int, span_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%d %b" if span_ms > 2 * 86_400_000 else "%H:%M")
