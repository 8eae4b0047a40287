"""Pascal VOC: one XML file for each picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from veil_models.dataset import Label, Picture
from veil_models.errors import ModelsError
from veil_models.picture_file import picture_size
from veil_models.readers.checks import Names, check_named, check_place, number


def read_voc(
    annotations: Path, images: Path, names: Names, source: str, labelled: frozenset[str]
) -> list[Picture]:
    """Read every *.xml below `annotations`; pictures lie in `images` by the file's `filename`.

    `names` maps their class names to ours, or to None; a name that is not in it is a ModelsError, for it may
    be a slip of the pen. `difficult` boxes become ignore regions; `occluded` and `truncated` ones are objects
    like others. VOC counts pixels from 1 and includes the last one. A size of 0 is taken from the picture.
    """
    roots = {path: _parsed(path) for path in sorted(annotations.rglob("*.xml"))}
    if not roots:
        raise ModelsError(f"{annotations}: no .xml is below it; name the folder that holds the annotations.")
    theirs = (_text(item, "name", path) for path, root in roots.items() for item in root.iter("object"))
    check_named(theirs, names, annotations)
    return [_read(path, root, images, names, source, labelled) for path, root in roots.items()]


def _parsed(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()  # noqa: S314 - the caller's own annotation files
    except (ElementTree.ParseError, OSError) as error:
        raise ModelsError(f"{path}: cannot be read as XML ({error}).") from error


def _read(
    path: Path, root: ElementTree.Element, images: Path, names: Names, source: str, labelled: frozenset[str]
) -> Picture:
    picture = images / _text(root, "filename", path)
    width, height = (int(_number(root, f"size/{side}", path)) for side in ("width", "height"))
    if width <= 0 or height <= 0:
        width, height = picture_size(picture)
    labels = []
    for item in root.iter("object"):
        category = names[_text(item, "name", path)]
        if category is None:
            continue
        x1, y1, x2, y2 = (_number(item, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax"))
        if x2 < x1 or y2 < y1:
            raise ModelsError(f"{path}: the box {x1:g}, {y1:g} to {x2:g}, {y2:g} has no area.")
        difficult = (item.findtext("difficult") or "0").strip() == "1"
        labels.append(Label(category, x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1, ignore=difficult))
        check_place(labels[-1], width, height, str(path))
    return Picture(picture, width, height, source, labelled, tuple(labels))


def _number(node: ElementTree.Element, key: str, path: Path) -> float:
    return number(_text(node, key, path), f"{path}: <{key}>")


def _text(node: ElementTree.Element, key: str, path: Path) -> str:
    value = node.findtext(key)
    if value is None:
        raise ModelsError(f"{path}: no <{key}>.")
    return value.strip()
