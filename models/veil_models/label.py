"""Teachers' answers for every picture, at several scales, kept raw so that fusing can be tried again
cheaply."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veil_models.boxes import Array
from veil_models.dataset import Dataset, Picture
from veil_models.errors import ModelsError
from veil_models.made import bytes_of, name_of, whole
from veil_models.pack import Pack
from veil_models.teachers import Teacher, look

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


def key_of(picture: Picture, root: Path) -> str:
    """What a picture's answers depend on: its name below `root`, its file's and its own size, the views."""
    views = "".join(str(VIEWS.index(view)) for view in views_for(picture))
    return f"{name_of(picture, root)} {bytes_of(picture)} {picture.width}x{picture.height} {views}"


def read_answers(folder: Path) -> dict[str, Array]:
    """Rows view, x1, y1, x2, y2, score by `key_of`, for every picture that was asked.

    Raises:
        ModelsError: a file of an earlier version, which says nothing of the pictures' names.
    """
    answers: dict[str, Array] = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            if "keys" not in data:
                raise ModelsError(
                    f"{path} is of an earlier version and does not name its pictures: "
                    f"delete {folder} and run label again."
                )
            rows, keys = data["rows"], data["keys"]
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        starts = np.searchsorted(rows[:, 0], np.arange(len(keys) + 1), "left")
        for place, key in enumerate(keys.tolist()):
            answers[key] = rows[starts[place] : starts[place + 1], 1:]
    return answers


def label(
    pictures: Dataset,
    pack: Pack,
    root: Path,
    folder: Path,
    teachers: Mapping[str, Teacher],
    *,
    part: int = 0,
    parts: int = 1,
    chunk: int = 50,
) -> None:
    """Ask all views about every `parts`-th chunk of pictures; who was asked is not asked again.

    A chunk's file holds `keys` (`key_of`, names below `root`) and `rows` [N, 7]: the picture's place in
    `keys`, view index, x1, y1, x2, y2, score.
    """
    rank = {s: i for i, s in enumerate(ORDER)}
    order = sorted(range(len(pictures)), key=lambda i: (rank.get(pictures[i].source, 99), i))
    keys = [key_of(picture, root) for picture in pictures]
    asked = read_answers(folder).keys()
    chunks: Sequence[list[int]] = [order[i : i + chunk] for i in range(0, len(order), chunk)]
    for number, every in enumerate(chunks):
        indices = [i for i in every if keys[i] not in asked]
        if number % parts != part or not indices:
            continue
        start = time.monotonic()
        rows: list[Array] = []
        for place, index in enumerate(indices):
            rgb = pack.picture(index)
            for view in views_for(pictures[index]):
                found = look(teachers[view.teacher], rgb, view.scale, FLOOR, mirrored=view.mirrored)
                head = np.tile(np.array([[place, VIEWS.index(view)]], np.float32), (len(found), 1))
                rows.append(np.concatenate([head, found], 1).astype(np.float32))
        _save(folder, [keys[i] for i in indices], np.concatenate(rows))
        each = (time.monotonic() - start) / len(indices)
        print(
            f"{number + 1}/{len(chunks)} {pictures[indices[0]].source} {each * 1e3:.0f} ms a picture",
            flush=True,
        )


def _save(folder: Path, keys: Sequence[str], rows: Array) -> None:
    name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]

    def fill(part: Path) -> None:
        with part.open("wb") as stream:
            np.savez(stream, rows=rows, keys=np.array(keys, str))

    whole(folder / f"{name}.npz", fill)
