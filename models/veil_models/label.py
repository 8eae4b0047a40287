"""Teachers' answers for every picture, at several scales, kept raw so that fusing can be tried again
cheaply."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veil_models.boxes import Array
from veil_models.dataset import Dataset, Picture
from veil_models.pack import Pack
from veil_models.teachers import CenterFace, Teacher, YuNet, look

FLOOR = 0.1
"""Answers below this score are not kept."""

SMALL_FACES = frozenset(
    {"maskstreet", "mask853", "street", "crowd", "crowd2", "streetpairs", "busstop", "street_val"}
)
"""Sets where CenterFace is also asked above the native size."""

ORDER = (
    "crowd",
    "maskstreet",
    "street",
    "portraits",
    "indoor",
    "streetpairs",
    "fashion",
    "crowd2",
    "mask853",
    "masked",
    "helen",
    "busstop",
    "sports",
    "professions",
    "classroom",
    "openstreet",
    "lecture",
    "metro",
    "dashcam",
    "carplates",
    "smallplates",
)
"""Most useful sets first: labelling may be cut short."""


@dataclass(frozen=True, slots=True)
class View:
    """One way of asking: which teacher, at which scale, mirrored or not."""

    teacher: str
    scale: float
    mirrored: bool


def views_for(picture: Picture) -> list[View]:
    """What to ask about a picture; index in VIEWS is what is stored."""
    small = picture.source in SMALL_FACES
    large = max(picture.width, picture.height) >= 300
    return [
        v
        for v in VIEWS
        if not (v.teacher == "centerface" and v.scale > 1 and not small) and not (v.scale < 1 and not large)
    ]


VIEWS: tuple[View, ...] = (
    View("yunet", 1.0, mirrored=False),
    View("yunet", 1.0, mirrored=True),
    View("yunet", 1.6, mirrored=False),
    View("yunet", 0.5, mirrored=False),
    View("centerface", 1.0, mirrored=False),
    View("centerface", 1.5, mirrored=True),
    View("centerface", 0.5, mirrored=False),
)


def label(
    pictures: Dataset, pack: Pack, folder: Path, yunet: Path, *, part: int, parts: int, chunk: int = 50
) -> None:
    """Ask all views about every `parts`-th chunk of pictures; finished chunks are files and are not asked
    again.

    A chunk file holds `rows` [N, 7]: picture index, view index, x1, y1, x2, y2, score.
    """
    teachers: dict[str, Teacher] = {"yunet": YuNet(yunet), "centerface": CenterFace()}
    rank = {s: i for i, s in enumerate(ORDER)}
    order = sorted(range(len(pictures)), key=lambda i: (rank.get(pictures[i].source, 99), i))
    chunks: Sequence[list[int]] = [order[i : i + chunk] for i in range(0, len(order), chunk)]
    folder.mkdir(parents=True, exist_ok=True)
    for number, indices in enumerate(chunks):
        target = folder / f"{number:05d}.npz"
        if number % parts != part or target.exists():
            continue
        start = time.monotonic()
        rows: list[Array] = []
        for index in indices:
            rgb = pack.picture(index)
            for view in views_for(pictures[index]):
                found = look(teachers[view.teacher], rgb, view.scale, FLOOR, mirrored=view.mirrored)
                head = np.tile(np.array([[index, VIEWS.index(view)]], np.float32), (len(found), 1))
                rows.append(np.concatenate([head, found], 1).astype(np.float32))
        partial = target.with_suffix(".part")
        with partial.open("wb") as stream:
            np.savez(stream, rows=np.concatenate(rows), indices=np.array(indices))
        partial.rename(target)
        each = (time.monotonic() - start) / len(indices)
        print(
            f"{number + 1}/{len(chunks)} {pictures[indices[0]].source} {each * 1e3:.0f} ms a picture",
            flush=True,
        )
