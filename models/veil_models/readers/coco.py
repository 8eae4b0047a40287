"""COCO instances, as one JSON file (plain or gzipped)."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from veil_models.dataset import CLASSES, Label, Origin, Picture


def read_coco(annotations: Path, root: Path | None = None) -> list[Picture]:
    """Read COCO annotations; pictures are looked for below `root` (default: the folder of the JSON).

    Keys beyond COCO, all optional: an image's `source`, `labelled` (category ids; default: every
    category) and `searched` (default: none), an annotation's `origin` and `score`. `iscrowd: 1` becomes
    `ignore`. Categories we do not detect are dropped, boxes without area too.
    """
    opener = gzip.open if annotations.suffix == ".gz" else open
    with opener(annotations, "rt", encoding="utf-8") as stream:
        data: dict[str, Any] = json.load(stream)
    base = root if root is not None else annotations.parent
    names = {c["id"]: c["name"] for c in data["categories"] if c["name"] in CLASSES}
    labels: dict[int, list[Label]] = defaultdict(list)
    for item in data["annotations"]:
        name = names.get(item["category_id"])
        x, y, w, h = (float(v) for v in item["bbox"])
        if name is None or w <= 0 or h <= 0:
            continue
        labels[item["image_id"]].append(
            Label(
                category=name,
                x=x,
                y=y,
                w=w,
                h=h,
                origin=Origin(item.get("origin", "human")),
                ignore=bool(item.get("iscrowd", 0)),
                score=float(item.get("score", 1.0)),
            )
        )
    return [
        Picture(
            path=base / image["file_name"],
            width=int(image["width"]),
            height=int(image["height"]),
            source=str(image.get("source", annotations.stem)),
            labelled=frozenset(names[i] for i in image.get("labelled", list(names)) if i in names),
            labels=tuple(labels[image["id"]]),
            searched=frozenset(names[i] for i in image.get("searched", ()) if i in names),
        )
        for image in data["images"]
    ]
