"""Runs programs over clips and judges what they wrote."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from veil_eval_video.coverage import Coverage
from veil_eval_video.hiders import Hider
from veil_eval_video.residual import Residual, compare, look, masked_share
from veil_eval_video.teachers import Teacher
from veil_eval_video.truth import read_folder
from veil_eval_video.video import read_planes, shorten


def run_cover(clips: Path, hiders: Sequence[Hider], work: Path, console: Console) -> dict[str, Coverage]:
    """Every clip of `clips` by every program; outputs go to `work`/NAME/."""
    results: dict[str, Coverage] = {}
    for hider in hiders:
        begun = time.monotonic()
        results[hider.name] = found = Coverage()
        for truth in read_folder(clips):
            target = _target(work, hider, truth.clip)
            hider.hide(clips / truth.clip, target)
            found.add(truth, read_planes(target))
        console.print(f"{hider.name}: {time.monotonic() - begun:.0f} s")
    return results


@dataclass(frozen=True, slots=True)
class ResidualPlan:
    """What of each clip is looked at: its first `frames` frames (0: all), each `every`-th of them."""

    scores: tuple[float, ...] = (0.3, 0.5)
    frames: int = 120
    every: int = 5


def run_residual(
    clips: Sequence[Path],
    hiders: Sequence[Hider],
    teachers: Sequence[Teacher],
    plan: ResidualPlan,
    work: Path,
    console: Console,
) -> dict[tuple[str, str], list[Residual]]:
    """Sums over `clips`, by program and detector: one Residual for each score."""
    results: dict[tuple[str, str], list[Residual]] = {}
    work.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        source = shorten(clip, work / clip.name, plan.frames) if plan.frames else clip
        before = [look(teacher, read_planes(source), plan.every) for teacher in teachers]
        for hider in hiders:
            target = _target(work, hider, clip.name)
            hider.hide(source, target)
            masked, looked = masked_share(read_planes(target), plan.every)
            for teacher, sightings in zip(teachers, before, strict=True):
                after = look(teacher, read_planes(target), plan.every)
                found = [
                    replace(compare(sightings, after, score), masked=masked, frames=looked)
                    for score in plan.scores
                ]
                console.print(
                    f"{clip.name}, {hider.name}, {teacher.name}: "
                    + ", ".join(f"{one.found} of {one.faces} at {one.score:g}" for one in found)
                )
                key = (hider.name, teacher.name)
                old = results.get(key)
                results[key] = found if old is None else [a + b for a, b in zip(old, found, strict=True)]
    return results


def _target(work: Path, hider: Hider, clip: str) -> Path:
    target = work / hider.name.replace(" ", "-") / clip
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
