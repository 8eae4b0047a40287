"""Ours (tracker and look-back) against a library's plain ByteTrack and bare detections: same detections in.

    python -m venv BT && BT/bin/pip install supervision==0.26.1
    python bench/track_quality.py --bytetrack BT/bin/python [--clips FOLDER --model YUNET.onnx] [--seeds 3]

All get the same margin. Columns, less is better in each: `uncovered` is the share of object-frames of which
over 5 % of the true box is not under a mask; `flicker` counts changes between covered and not, per object and
minute; `jumps` is the mean change of the mask's size around a covered object from frame to frame; `area` is
masked area over true area. In clips there is no truth: the reference is the detector itself at full
resolution in each frame (score 0.5 and more), and what the trackers get is a fraction of it. That reference
misses faces itself and knows no identities: only `uncovered` means something there, and `area` is too high.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from track_worlds import HEIGHT, LOW, SCORE, WIDTH, World, worlds

from veil.config import TrackerConfig
from veil.domain.detection import Detection, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.mask.lookback import LookBack
from veil.track.tracker import Tracker

MARGIN = 0.15
LOOKBACK_NS = 500_000_000
Masks = list[list[Box]]
FACE = ObjectClass.FACE


def ours(world: World, lookback_ns: int) -> Masks:
    config = TrackerConfig()
    tracker = Tracker(config, {FACE: ClassThresholds(SCORE, LOW)})
    window = LookBack(lookback_ns, int(config.hold_s * 1e9), config.growth_per_s)
    masks: Masks = []
    for number, (now, found) in enumerate(zip(world.times_ns, world.found, strict=True)):
        tracks = tracker.update([Detection(FACE, box, score) for box, score in found], now)
        window.push(number, now, tracks)
        masks += [[target.box for target in window.take(due)] for due in window.due()]
    while len(masks) < len(world.times_ns):
        masks.append([target.box for target in window.take(len(masks))])
    return masks


def bytetrack(world: World, python: Path) -> Masks:
    frames = [[[b.x0, b.y0, b.x1, b.y1, score] for b, score in found] for found in world.found]
    answer = subprocess.run(
        [python, "-W", "ignore", Path(__file__).with_name("track_bytetrack.py")],
        input=json.dumps({"fps": world.fps, "frames": frames}),
        capture_output=True,
        text=True,
        check=True,
    )
    return [[Box(*box) for box in frame] for frame in json.loads(answer.stdout)]


def bare(world: World) -> Masks:
    return [[box for box, score in found if score >= SCORE] for found in world.found]


@dataclass
class Result:
    """Sums over frames; see the module's text."""

    object_frames: int = 0
    uncovered: int = 0
    changes: int = 0
    object_s: float = 0.0
    jumps: float = 0.0
    jumped: int = 0
    masked_area: float = 0.0
    true_area: float = 0.0

    def line(self) -> str:
        return (
            f"{self.uncovered / max(1, self.object_frames):>10.2%} "
            f"{self.changes / max(1e-9, self.object_s) * 60:>8.1f} "
            f"{self.jumps / max(1, self.jumped):>7.1%} {self.masked_area / max(1.0, self.true_area):>6.2f}"
        )


def covered_share(box: Box, masks: Sequence[Box]) -> float:
    """Share of `box` under `masks`, on a 12 by 12 grid."""
    xs = np.linspace(box.x0, box.x1, 13)[:-1] + box.width / 24
    ys = np.linspace(box.y0, box.y1, 13)[:-1] + box.height / 24
    under = np.zeros((12, 12), bool)
    for mask in masks:
        under |= ((xs >= mask.x0) & (xs < mask.x1)) & ((ys >= mask.y0) & (ys < mask.y1))[:, None]
    return float(under.mean())


def painted_area(boxes: Sequence[Box]) -> float:
    cells = np.zeros((HEIGHT // 2, WIDTH // 2), bool)
    for box in boxes:
        x0, y0, x1, y1 = (max(0, round(edge / 2)) for edge in (box.x0, box.y0, box.x1, box.y1))
        cells[y0:y1, x0:x1] = True
    return 4.0 * float(cells.sum())


def judge(world: World, masks: Masks, result: Result) -> None:
    was: list[bool | None] = [None] * max((len(boxes) for boxes in world.truth), default=0)
    size: list[float | None] = [None] * len(was)
    before = world.times_ns[0]
    for now, truth, found in zip(world.times_ns, world.truth, masks, strict=True):
        wide = [box.grown(MARGIN) for box in found]
        result.masked_area += painted_area(wide)
        result.true_area += painted_area([box for box in truth if box is not None])
        for index, box in enumerate(truth):
            if box is None:
                was[index] = size[index] = None
                continue
            around = [mask for mask in wide if mask.intersection_area(box) > 0]
            is_covered = covered_share(box, around) >= 0.95
            result.object_frames += 1
            result.object_s += (now - before) / 1e9
            result.uncovered += not is_covered
            result.changes += was[index] is not None and was[index] != is_covered
            widest = max((mask.area**0.5 for mask in around), default=0.0)
            last = size[index]
            if is_covered and last:
                result.jumps += abs(widest - last) / last
                result.jumped += 1
            was[index], size[index] = is_covered, widest if is_covered else None
        before = now


def clip_world(path: Path, model: Path, frames: int) -> World:
    """YuNet in native tiles in each frame as truth; of it a third in turn, with bursts of nothing."""
    from track_yunet import detect_clip

    times_ns, full = detect_clip(path, model, frames)
    chance = random.Random(7)
    found = []
    lost = 0
    for number, boxes in enumerate(full):
        lost = lost - 1 if lost else 8 * (chance.random() < 0.02)
        turn = [(box, score) for box, score in boxes if (number + int(box.centre[0] // 160)) % 3 == 0]
        found.append(() if lost else tuple(turn))
    truth = tuple(tuple(box for box, score in boxes if score >= SCORE) for boxes in full)
    return World(f"{path.name[:18]}, 1 in 3", tuple(times_ns), truth, tuple(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bytetrack", type=Path, help="a Python that has supervision==0.26.1")
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    sets: dict[str, list[World]] = {}
    for seed in range(given.seeds):
        for world in worlds(100 * seed + 1):
            sets.setdefault(world.name, []).append(world)
    if given.clips and given.model:
        for path in sorted(given.clips.glob("pe*.mp4")):  # the two with faces
            world = clip_world(path, given.model, given.frames)
            sets[world.name] = [world]
    print(f"{'':28} {'':20} {'uncovered':>10} {'flicker':>8} {'jumps':>7} {'area':>6}")
    for name, group in sets.items():
        runs = {"detections alone": bare, "ours, look-back 0": lambda world: ours(world, 0)}
        runs["ours, look-back 500 ms"] = lambda world: ours(world, LOOKBACK_NS)
        if given.bytetrack:
            runs["ByteTrack (library)"] = lambda world: bytetrack(world, given.bytetrack)
        for label, run in runs.items():
            result = Result()
            for world in group:
                judge(world, run(world), result)
            print(f"{name:28} {label:22} {result.line()}", flush=True)


if __name__ == "__main__":
    main()
