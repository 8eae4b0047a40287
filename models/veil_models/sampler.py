"""An endless, seeded stream of training batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from veil_models.assign import DOUBT, HEAD, PLATE, Boxes, Floats, Targets, assign
from veil_models.augment import Placement, Rng, degrade, place
from veil_models.dataset import CLASSES, Dataset, Origin, Picture
from veil_models.errors import ModelsError
from veil_models.graph import STRIDES
from veil_models.pack import Pack, Pixels

PICTURE_WEIGHT: dict[str, float] = {
    "maskstreet": 3.0,
    "mask853": 1.5,
    "classroom": 1.3,
    "lecture": 3.5,
    "metro": 3.5,
    "street": 1.2,
    "crowd": 1.6,
    "crowd2": 2.0,
    "streetpairs": 1.2,
    "fashion": 0.8,
    "busstop": 1.0,
    "professions": 0.7,
    "sports": 0.6,
    "masked": 0.6,
    "helen": 1.0,
    "indoor": 0.8,
    "portraits": 1.8,
    "openstreet": 2.0,
    "dashcam": 3.0,
    "carplates": 1.4,
    "smallplates": 1.0,
}
"""How often a picture of each set is drawn; sets of people's labels and of crowds more often."""

PLATE_FREE = frozenset(
    {
        "classroom",
        "lecture",
        "portraits",
        "indoor",
        "helen",
        "masked",
        "mask853",
        "metro",
        "sports",
        "professions",
    }
)
"""Sets where plates hardly ever appear: a weak background for them."""

LEAST_CROP = 128
"""Pixels: in a mosaic each of the four pictures still has room for faces."""

SEARCHED_BACKGROUND = 0.5
"""Weight of nothing where only our own net looked."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """Places where a net saw something that is not there (`veil_models.alarms`): `picture` [N] index in the
    data set, `xyxy` [N, 4] pixels of the picture, `score` [N]."""

    picture: npt.NDArray[np.int64]
    xyxy: Floats
    score: Floats


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes and chances of a stream of batches. Raises ModelsError for what nothing can be made of."""

    size: int = 384
    batch: int = 16
    mosaic: float = 0.35
    alarms: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < LEAST_CROP or self.size % 32:
            raise ModelsError(f"crops of {self.size} px: give --size a multiple of 32 from {LEAST_CROP} on.")
        if self.batch < 1:
            raise ModelsError(f"{self.batch} crops a step: give --batch 1 or more.")
        for name, share in (("mosaic", self.mosaic), ("alarms", self.alarms)):
            if not 0 <= share <= 1:
                raise ModelsError(f"a share of {share}: give --{name} a number from 0 to 1.")


def boxes_of(picture: Picture) -> Boxes:
    """A picture's labels as arrays; ignore regions get weight 0.

    People's boxes should score 1. A teacher's confidence c should score min(1.25 c, 0.95), and weighs half
    where it is doubtful: the net learns the order of the doubts instead of nothing about them.
    """
    rows = picture.labels
    xyxy = np.array([(b.x, b.y, b.x + b.w, b.y + b.h) for b in rows], np.float32).reshape(-1, 4)
    category = np.array([CLASSES.index(b.category) for b in rows], np.int64)
    by_people = np.array([b.origin is Origin.HUMAN for b in rows], bool)
    given = np.array([b.score for b in rows], np.float32)
    score = np.where(by_people, 1.0, np.minimum(1.25 * given, 0.95)).astype(np.float32)
    weight = np.where(score >= DOUBT, 1.0, 0.5).astype(np.float32)
    weight[np.array([b.ignore for b in rows], bool)] = 0
    return Boxes(xyxy, category, score, weight)


def background_of(picture: Picture) -> Floats:
    """How much nothing counts per class: teachers looked for faces everywhere, people only in their own
    sets."""
    plate = 1.0 if "plate" in picture.labelled else (0.5 if picture.source in PLATE_FREE else 0.0)
    head = 1.0 if "head" in picture.labelled else 0.0
    if "plate" in picture.searched:
        plate = max(plate, SEARCHED_BACKGROUND)
    if "head" in picture.searched:
        head = max(head, SEARCHED_BACKGROUND)
    return np.array([1.0, plate, head], np.float32)


def weaken(targets: Targets, background: Floats, area: tuple[int, int, int, int], size: int) -> None:
    """Where nothing is in an area (x0, y0, x1, y1, of whole cells) of a crop of `size` pixels, let that count
    as much as `background` [3] says; in place."""
    x0, y0, x1, y1 = area
    first = 0
    for stride in STRIDES:
        side = size // stride
        rows, columns = slice(y0 // stride, y1 // stride), slice(x0 // stride, x1 // stride)
        weight, score = (
            each[:, first : first + side * side].reshape(-1, side, side)[:, rows, columns]
            for each in (targets.weight, targets.score)
        )
        np.minimum(weight, background[:, None, None], out=weight, where=score == 0)
        first += side * side


@dataclass(slots=True)
class Sampler:
    """Draws crops, a share of them around alarms where there are any; the same seed gives the same stream."""

    pictures: Dataset
    pack: Pack
    recipe: Recipe
    alarms: Alarms | None = None
    boxes: list[Boxes] = field(init=False)
    background: list[Floats] = field(init=False)
    chance: npt.NDArray[np.float64] = field(init=False)
    alarm_chance: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.boxes = [boxes_of(p) for p in self.pictures]
        self.background = [background_of(p) for p in self.pictures]
        weight = np.array([PICTURE_WEIGHT.get(p.source, 1.0) for p in self.pictures])
        self.chance = np.cumsum(weight / weight.sum())
        alarming = np.zeros(0) if self.alarms is None else self.alarms.score.astype(np.float64) ** 2
        self.alarm_chance = np.cumsum(alarming / max(alarming.sum(), 1e-9))

    def draw(self, rng: Rng) -> int:
        """Index of a picture."""
        return min(int(np.searchsorted(self.chance, rng.random())), len(self.pictures) - 1)

    def draw_alarm(self, rng: Rng) -> tuple[int, Floats] | None:
        """Index of a picture and the place of an alarm in it, for a share of all calls; high scores more
        often."""
        if self.alarms is None or not len(self.alarm_chance) or rng.random() >= self.recipe.alarms:
            return None
        drawn = min(int(np.searchsorted(self.alarm_chance, rng.random())), len(self.alarm_chance) - 1)
        return int(self.alarms.picture[drawn]), self.alarms.xyxy[drawn]

    def crop(self, rng: Rng, width: int, height: int) -> tuple[Pixels, Boxes, Floats]:
        """One augmented part of one picture."""
        alarm = self.draw_alarm(rng)
        index = self.draw(rng) if alarm is None else alarm[0]
        rgb, boxes = self.pack.picture(index), self.boxes[index]
        h, w = rgb.shape[:2]
        side = max(width, height)
        candidates = np.flatnonzero((boxes.weight > 0) & (boxes.score >= DOUBT))
        if alarm is not None:
            # about as large as the net saw it: another scale may be no alarm
            scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.6))))
            x1, y1, x2, y2 = (float(v) for v in alarm[1])
            reach = max(0.0, 0.5 * side / scale - 0.6 * max(x2 - x1, y2 - y1))
            cx = (x1 + x2) / 2 + rng.uniform(-1, 1) * reach * width / side
            cy = (y1 + y2) / 2 + rng.uniform(-1, 1) * reach * height / side
        elif len(candidates) and rng.random() < 0.7:
            pick = int(rng.choice(candidates))
            x1, y1, x2, y2 = (float(v) for v in boxes.xyxy[pick])
            longest = max(x2 - x1, y2 - y1)
            is_plate = boxes.category[pick] == PLATE
            top = 0.5 * side if rng.random() < (0.6 if is_plate else 0.75) else 1.4 * side
            # small ones more often: most of what cameras see is small, and most of what is missed
            share = rng.random() ** (1.0 if is_plate else 1.3)
            wanted = float(9.0 * (top / 9.0) ** share)
            scale = float(np.clip(wanted / longest, 0.12, 2.0))
            reach = max(0.0, 0.5 * side / scale - 0.3 * longest)
            cx = (x1 + x2) / 2 + rng.uniform(-1, 1) * reach * 0.9 * width / side
            cy = (y1 + y2) / 2 + rng.uniform(-1, 1) * reach * 0.9 * height / side
        else:
            scale = side / max(w, h) * float(np.exp(rng.uniform(np.log(0.6), np.log(2.2))))
            scale = min(scale, 2.0)
            cx, cy = rng.uniform(0, w), rng.uniform(0, h)
        scale = max(scale, 0.6 * side / max(w, h))
        # stay over the picture where it is large enough
        rx, ry = width / 2 / scale, height / 2 / scale
        cx = float(np.clip(cx, rx, w - rx)) if 2 * rx < w else w / 2 + rng.uniform(-1, 1) * (rx - w / 2)
        cy = float(np.clip(cy, ry, h - ry)) if 2 * ry < h else h / 2 + rng.uniform(-1, 1) * (ry - h / 2)
        roll = rng.random()
        if roll < 0.03:
            angle = float(rng.integers(1, 4)) * np.pi / 2
        elif roll < 0.22:
            angle = float(rng.normal(0, np.deg2rad(14)))
        else:
            angle = 0.0
        where = Placement(cx, cy, scale, angle, mirrored=bool(rng.random() < 0.5))
        pixels, moved = place(rgb, boxes, where, width, height)
        return pixels, moved, self.background[index]

    def example(self, rng: Rng) -> tuple[Pixels, Targets]:
        """A crop or a mosaic of four, degraded, with its targets."""
        size = self.recipe.size
        if rng.random() >= self.recipe.mosaic:
            pixels, boxes, background = self.crop(rng, size, size)
            return degrade(pixels, rng), assign(boxes, background, size)
        image = np.empty((size, size, 3), np.uint8)
        cut_x, cut_y = (int(rng.uniform(0.35, 0.65) * size) // 32 * 32 for _ in range(2))
        parts: list[Boxes] = []
        score_weight = np.zeros((len(CLASSES), 4), np.float32)
        areas = [
            (0, 0, cut_x, cut_y),
            (cut_x, 0, size, cut_y),
            (0, cut_y, cut_x, size),
            (cut_x, cut_y, size, size),
        ]
        for k, (x0, y0, x1, y1) in enumerate(areas):
            pixels, boxes, background = self.crop(rng, x1 - x0, y1 - y0)
            image[y0:y1, x0:x1] = degrade(pixels, rng) if k % 2 else pixels
            shift = np.array([x0, y0, x0, y0], np.float32)
            parts.append(Boxes(boxes.xyxy + shift, boxes.category, boxes.score, boxes.weight))
            score_weight[:, k] = background
        # a class nobody looked for in one part is ignored there
        for k, (x0, y0, x1, y1) in enumerate(areas):
            for category in (PLATE, HEAD):
                if score_weight[category, k] == 0:
                    region = np.array([[x0, y0, x1, y1]], np.float32)
                    parts.insert(
                        0,
                        Boxes(region, np.array([category]), np.ones(1, np.float32), np.zeros(1, np.float32)),
                    )
        whole = Boxes(
            np.concatenate([p.xyxy for p in parts]),
            np.concatenate([p.category for p in parts]),
            np.concatenate([p.score for p in parts]),
            np.concatenate([p.weight for p in parts]),
        )
        targets = assign(whole, np.ones(3, np.float32), size)
        for area, background in zip(areas, score_weight.T, strict=True):
            weaken(targets, background, area, size)
        return image, targets

    def batches(self, first: int, every: int = 1) -> Iterator[dict[str, npt.NDArray[np.generic]]]:
        """The batches number `first`, `first` + `every` and so on, as arrays named like the fields of
        `losses.Batch`. Each depends on the seed and its number alone."""
        cv2.setNumThreads(1)
        for number in itertools.count(first, every):
            # the middle number was a worker's, when each had a stream of its own
            rng = np.random.default_rng((self.recipe.seed, 0, number))
            examples = [self.example(rng) for _ in range(self.recipe.batch)]
            targets = [t for _, t in examples]
            counts = [len(t.cell) for t in targets]
            yield {
                "image": np.stack([e.transpose(2, 0, 1) for e, _ in examples]),
                "score": np.stack([t.score for t in targets]),
                "weight": np.stack([t.weight for t in targets]),
                "picture": np.repeat(np.arange(len(targets)), counts),
                "cell": np.concatenate([t.cell for t in targets]),
                "category": np.concatenate([t.category for t in targets]),
                "xyxy": np.concatenate([t.xyxy for t in targets]),
                "share": np.concatenate([t.share for t in targets]),
            }
