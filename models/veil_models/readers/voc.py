"""Pascal VOC: one XML file for each picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from veil_models.dataset import Label, Picture


def read_voc(
    annotations: Path, images: Path, names: Mapping[str, str], source: str, labelled: frozenset[str]
) -> list[Picture]:
    """Read every *.xml below `annotations`; pictures lie in `images` by the file's `filename`.

    `names` maps their class names to ours; other names are dropped. `difficult` boxes become ignore regions.
    VOC counts pixels from 1 and includes the last one.
    """
    return [_read(path, images, names, source, labelled) for path in sorted(annotations.rglob("*.xml"))]


def _read(
    path: Path, images: Path, names: Mapping[str, str], source: str, labelled: frozenset[str]
) -> Picture:
    root = ElementTree.parse(path).getroot()  # noqa: S314 - the caller's own annotation files
    labels = []
    for item in root.iter("object"):
        category = names.get(_text(item, "name", path))
        if category is None:
            continue
        x1, y1, x2, y2 = (
            float(_text(item, f"bndbox/{side}", path)) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        labels.append(Label(category, x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1, ignore=difficult))
    return Picture(
        path=images / _text(root, "filename", path),
        width=int(_text(root, "size/width", path)),
        height=int(_text(root, "size/height", path)),
        source=source,
        labelled=labelled,
        labels=tuple(b for b in labels if b.w > 0 and b.h > 0),
    )


def _text(node: ElementTree.Element, key: str, path: Path) -> str:
    value = node.findtext(key)
    if value is None:
        raise ValueError(f"{path}: no <{key}>")
    return value.strip()
