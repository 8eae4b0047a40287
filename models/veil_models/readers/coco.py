"""COCO instances, as one JSON file (plain or gzipped)."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from veil_models.dataset import CLASSES, LONGEST, Label, Origin, Picture, within
from veil_models.errors import ModelsError
from veil_models.readers.checks import Names, check_named, check_place
from veil_models.readers.coco_out import seen_from

Kinds = Mapping[Any, str | None]
"""Category ids to our classes; None for those we do not detect."""


def read_coco(
    annotations: Path, root: Path | None = None, names: Names | None = None, longest: int | None = LONGEST
) -> list[Picture]:
    """Read COCO annotations; pictures are looked for below `root` (default: the folder of the JSON).

    Keys beyond COCO, all optional: an image's `source`, `labelled` (category ids; default: every
    category) and `searched` (default: none), an annotation's `origin` and `score`. `iscrowd: 1` becomes
    `ignore`. Boxes without area are dropped.

    Args:
        names: their category names to ours, or None; each must be in it. Without it categories are called as
            ours, and others are dropped.
        longest: larger pictures come with the size and the labels that `pack` scales them to; None: as they
            are.

    Raises:
        ModelsError: names the file and the entry: no category of ours, an id that is not there, a box that
            is no box or lies outside of its picture.
    """
    data = _loaded(annotations)
    kinds = _kinds(data, names, annotations)
    base = root if root is not None else annotations.parent
    source = annotations.name.removesuffix(".gz").removesuffix(".json")
    pictures: dict[Any, Picture] = {}
    for item in data["images"]:
        where = f"{annotations}: image {_named(item, 'file_name')}"
        try:
            if item["id"] in pictures:
                raise ModelsError(f"{where}: another image has its id {item['id']!r}")
            pictures[item["id"]] = _picture(item, kinds, base, source, where)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelsError(f"{where}: {_why(error)}") from error
    labels: defaultdict[Any, list[Label]] = defaultdict(list)
    for item in data["annotations"]:
        try:
            label = _label(item, kinds, pictures)
        except (KeyError, TypeError, ValueError, OverflowError, ModelsError) as error:
            raise ModelsError(f"{annotations}: annotation {_named(item, 'id')}: {_why(error)}") from error
        if label is not None:
            labels[item["image_id"]].append(label)
    whole = (replace(picture, labels=tuple(labels[key])) for key, picture in pictures.items())
    return [picture if longest is None else within(picture, longest) for picture in whole]


def _loaded(annotations: Path) -> dict[str, Any]:
    opener = gzip.open if annotations.suffix == ".gz" else open
    try:
        with opener(annotations, "rt", encoding="utf-8-sig") as stream:
            data = json.load(stream)
    except FileNotFoundError:
        raise ModelsError(f"{annotations}: there is no such file; `veil_models convert` writes it.") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ModelsError(f"{annotations} is damaged: delete it and make it again ({error}).") from error
    parts = ("categories", "images", "annotations")
    if not isinstance(data, dict) or not all(_is_table(data.get(part)) for part in parts):
        raise ModelsError(f"{annotations}: is no COCO file: it needs lists of {', '.join(parts)}.")
    return data


def _is_table(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _kinds(data: Mapping[str, Any], names: Names | None, annotations: Path) -> Kinds:
    try:
        theirs: dict[Any, str] = {c["id"]: str(c["name"]) for c in data["categories"]}
    except (KeyError, TypeError) as error:
        raise ModelsError(f"{annotations}: a category: {_why(error)}") from error
    if names is not None:
        check_named(theirs.values(), names, annotations)
    ours = names if names is not None else {name: name for name in CLASSES}
    kinds = {key: ours.get(name) for key, name in theirs.items()}
    if data["images"] and not any(kinds.values()):
        said = ", ".join(repr(name) for name in theirs.values())
        raise ModelsError(
            f"{annotations}: none of its categories ({said}) is called {', '.join(CLASSES)}; "
            "`veil_models convert --format coco --names THEIRS=OURS` maps them."
        )
    return kinds


def _picture(item: Mapping[str, Any], kinds: Kinds, base: Path, source: str, where: str) -> Picture:
    width, height = int(item["width"]), int(item["height"])
    if width <= 0 or height <= 0:
        raise ModelsError(f"{where}: its size is {width}x{height}.")
    path = base / item["file_name"]
    return Picture(
        # a picture elsewhere too is named as seen from `base`: that can be written down again
        path=path if path.is_relative_to(base) else base / seen_from(base, path),
        width=width,
        height=height,
        source=str(item.get("source", source)),
        labelled=_classes(item.get("labelled", list(kinds)), kinds, f"{where}: labelled"),
        labels=(),
        searched=_classes(item.get("searched", ()), kinds, f"{where}: searched"),
    )


def _classes(keys: Iterable[Any], kinds: Kinds, where: str) -> frozenset[str]:
    for key in keys:
        if key not in kinds:
            known = ", ".join(str(k) for k in kinds)
            raise ModelsError(f"{where}: {key!r} is no id of a category; they are {known}.")
    return frozenset(name for name in (kinds[key] for key in keys) if name is not None)


def _label(item: Mapping[str, Any], kinds: Kinds, pictures: Mapping[Any, Picture]) -> Label | None:
    if item["category_id"] not in kinds:
        raise ModelsError(f"category_id {item['category_id']!r} is not in categories.")
    if item["image_id"] not in pictures:
        raise ModelsError(f"image_id {item['image_id']!r} is not in images.")
    name, picture = kinds[item["category_id"]], pictures[item["image_id"]]
    x, y, w, h = (float(v) for v in item["bbox"])
    score = float(item.get("score", 1.0))
    if not math.isfinite(x + y + w + h + score):
        raise ModelsError(f"bbox {item['bbox']} or score {score} is not finite.")
    if name is None or w <= 0 or h <= 0:
        return None
    origin = Origin(item.get("origin", "human"))
    label = Label(name, x, y, w, h, origin, ignore=bool(item.get("iscrowd", 0)), score=score)
    if origin is Origin.HUMAN:  # nets do say now and then that something lies beside the picture
        check_place(label, picture.width, picture.height, picture.path.name)
    return label


def _named(item: Mapping[str, Any], key: str) -> str:
    return repr(item.get(key, item.get("id", "?")))


def _why(error: Exception) -> str:
    return f"lacks {error}." if isinstance(error, KeyError) else str(error)
