"""Writing a dataset as gzipped COCO, with the keys `readers.coco` understands."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from veil_models.dataset import CLASSES, Dataset


def seen_from(root: Path, path: Path) -> Path:
    """`path` relative to `root`, with `..` where it lies elsewhere."""
    if path.is_relative_to(root):
        return path.relative_to(root)
    # `..` leads out of the real folder, not out of a link to it
    return Path(os.path.relpath(path.parent.resolve(), root.resolve()), path.name)


def write_coco(pictures: Dataset, target: Path, root: Path) -> None:
    """Write annotations; file names are stored relative to `root`."""
    images, annotations = [], []
    ids = {name: i + 1 for i, name in enumerate(CLASSES)}
    for number, picture in enumerate(pictures, 1):
        images.append(
            {
                "id": number,
                "file_name": seen_from(root, picture.path).as_posix(),
                "width": picture.width,
                "height": picture.height,
                "source": picture.source,
                "labelled": sorted(ids[c] for c in picture.labelled),
                "searched": sorted(ids[c] for c in picture.searched),
            }
        )
        annotations += [
            {
                "id": 0,
                "image_id": number,
                "category_id": ids[b.category],
                "bbox": [round(v, 1) for v in (b.x, b.y, b.w, b.h)],
                "iscrowd": int(b.ignore),
                "origin": b.origin.value,
                "score": round(b.score, 3),
            }
            for b in picture.labels
        ]
    for number, item in enumerate(annotations, 1):
        item["id"] = number
    categories = [{"id": i, "name": n} for n, i in ids.items()]
    data = {"categories": categories, "images": images, "annotations": annotations}
    with gzip.open(target, "wt", encoding="utf-8", compresslevel=3) as stream:
        json.dump(data, stream)
