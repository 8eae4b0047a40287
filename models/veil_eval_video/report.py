"""Figures as tables for people and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from veil.domain.detection import ObjectClass
from veil_eval_video.coverage import BUCKETS, LEAST, Count, Coverage
from veil_eval_video.residual import Residual

BARS = {ObjectClass.FACE: 0.90, ObjectClass.PLATE: 0.97}
AREA_BAR = 3.0
RESIDUAL_BAR = 0.01
KINDS = (ObjectClass.FACE, ObjectClass.PLATE)
Figures = dict[str, object]


def cover_tables(results: Mapping[str, Coverage], console: Console) -> None:
    """The bars, then sizes, then profiles."""
    bars = Table(
        title="object-frames covered: faces >= 20 px, plates >= 24 px wide; 80 % of the box under flat masks"
    )
    bars.add_column("")
    for kind in KINDS:
        bars.add_column(f"{kind.value}s", justify="right")
        bars.add_column(f"open {kind.value}-frames/h", justify="right")
    for name in ("area / true", "stray / true", "false masks/h", "flicker / object min"):
        bars.add_column(name, justify="right")
    bars.add_row(
        "bar",
        *(text for kind in KINDS for text in (f">= {BARS[kind]:.2f}", "")),
        f"<= {AREA_BAR:g}",
        "",
        "",
        "",
    )
    for name, found in results.items():
        cells = [name]
        for kind in KINDS:
            count = found.classes[kind]
            ok = count.objects > 0 and count.share >= BARS[kind]
            cells += [_share(count, ok=ok), f"{found.uncovered_per_hour(kind):,.0f}"]
        style = "green" if found.area_ratio <= AREA_BAR else "red"
        cells += [
            f"[{style}]{found.area_ratio:.2f}[/]",
            f"{found.stray_ratio:.2f}",
            f"{found.alarms_per_hour:,.0f}",
            f"{found.flicker_per_min:.1f}",
        ]
        bars.add_row(*cells)
    console.print(bars)
    console.print(_sizes(results))
    console.print(_profiles(results))


def _share(count: Count, *, ok: bool) -> str:
    if not count.objects:
        return "-"
    return f"[{'green' if ok else 'red'}]{count.share:.3f}[/] of {count.objects}"


def _sizes(results: Mapping[str, Coverage]) -> Table:
    table = Table(title="by size (faces: longer side, plates: width), pixels")
    table.add_column("")
    for kind in KINDS:
        for low, high in BUCKETS:
            table.add_column(
                f"{kind.value} {low:g}-{high:g}" if high < 1e9 else f"{kind.value} {low:g}-", justify="right"
            )
    for name, found in results.items():
        counts = [found.buckets[kind, low] for kind in KINDS for low, _ in BUCKETS]
        table.add_row(name, *(f"{count.share:.3f}" if count.objects else "-" for count in counts))
    return table


def _profiles(results: Mapping[str, Coverage]) -> Table:
    known = sorted(
        {key for found in results.values() for key in found.profiles}, key=lambda key: (key[0].value, key[1])
    )
    table = Table(title="by class and camera")
    table.add_column("")
    for kind, profile in known:
        table.add_column(f"{kind.value} {profile}", justify="right")
    for name, found in results.items():
        counts = [found.profiles[key] for key in known]
        table.add_row(name, *(f"{count.share:.3f}" if count.objects else "-" for count in counts))
    return table


def cover_json(results: Mapping[str, Coverage]) -> Figures:
    """By name of the program."""
    return {name: _coverage(found) for name, found in results.items()}


def _coverage(found: Coverage) -> Figures:
    return {
        "classes": {
            kind.value: {
                **_count(found.classes[kind]),
                "least_px": LEAST[kind],
                "uncovered_object_frames_per_hour": round(found.uncovered_per_hour(kind), 1),
            }
            for kind in KINDS
        },
        "sizes": {
            f"{kind.value} {low:g}": _count(count) for (kind, low), count in sorted(found.buckets.items())
        },
        "profiles": {
            f"{kind.value} {profile}": _count(count)
            for (kind, profile), count in sorted(found.profiles.items())
        },
        "area_ratio": _round(found.area_ratio),
        "stray_ratio": _round(found.stray_ratio),
        "false_masks_per_hour": _round(found.alarms_per_hour),
        "flicker_per_object_min": _round(found.flicker_per_min),
        "seconds": _round(found.seconds),
    }


def _count(count: Count) -> Figures:
    return {"object_frames": count.objects, "covered": count.covered, "share": _round(count.share)}


def _round(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def residual_table(results: Mapping[tuple[str, str], list[Residual]], console: Console) -> None:
    """Keys are program and detector; a row for each score."""
    table = Table(
        title="faces of the original (>= 10 px) that an independent detector still finds (IoU >= 0.4)"
    )
    for name in (
        "",
        "detector",
        "score",
        "faces",
        "still found",
        "share",
        "new in the output",
        "picture masked",
    ):
        table.add_column(name, justify="left" if name in {"", "detector"} else "right")
    for (hider, teacher), rows in results.items():
        for row in rows:
            style = "green" if row.share <= RESIDUAL_BAR else "red"
            table.add_row(
                hider,
                teacher,
                f"{row.score:g}",
                str(row.faces),
                str(row.found),
                f"[{style}]{row.share:.2%}[/]",
                str(row.invented),
                f"{row.masked_share:.1%}",
            )
    console.print(table)


def residual_json(results: Mapping[tuple[str, str], list[Residual]]) -> list[Figures]:
    """One entry for each program, detector and score."""
    return [
        {
            "program": hider,
            "detector": teacher,
            "score": row.score,
            "faces": row.faces,
            "still_found": row.found,
            "share": _round(row.share),
            "new_in_output": row.invented,
            "picture_masked": _round(row.masked_share),
        }
        for (hider, teacher), rows in results.items()
        for row in rows
    ]


def write_json(path: Path | None, figures: object) -> None:
    """Writes `figures` where a path is given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")
