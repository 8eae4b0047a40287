"""Files of the work folder: whole or not there, with what they were made from written down beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from veil_models.dataset import Dataset, Picture
from veil_models.errors import ModelsError
from veil_models.readers.coco_out import seen_from


def whole(target: Path, fill: Callable[[Path], object]) -> None:
    """`fill` writes a file beside `target` that takes its place: who is killed leaves the old one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    fill(part)
    part.replace(target)


def put(target: Path, made_from: Mapping[str, str], fill: Callable[[Path], object]) -> None:
    """`whole`, and what it was made from in `target`.from; killed in between, it leaves no such record."""
    _record(target).unlink(missing_ok=True)
    whole(target, fill)
    whole(_record(target), lambda part: part.write_text(json.dumps(made_from, indent=1) + "\n"))


def made_from(target: Path) -> dict[str, str] | None:
    """What `put` wrote down; None where it did not, or `target` is gone."""
    record = _record(target)
    if not (target.exists() and record.exists()):
        return None
    return {str(key): str(value) for key, value in json.loads(record.read_text()).items()}


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.from")


def name_of(picture: Picture, root: Path) -> str:
    """A picture's name as annotations below `root` have it."""
    return seen_from(root, picture.path).as_posix()


def bytes_of(picture: Picture) -> int:
    """Size of the picture's file. Raises ModelsError where it is missing."""
    try:
        return picture.path.stat().st_size
    except OSError as error:
        raise ModelsError(
            f"{picture.path} cannot be read ({error.strerror}): put it there, or out of the annotations."
        ) from error


def digest(pictures: Dataset, root: Path) -> str:
    """The same only for the same pictures (names, sizes of the files, width and height) in the same order,
    with the same sources and labels."""
    every = hashlib.sha256()
    for p in pictures:
        labels = [(b.category, b.x, b.y, b.w, b.h, b.origin.value, b.ignore, b.score) for b in p.labels]
        about = (name_of(p, root), bytes_of(p), p.width, p.height, p.source)
        every.update(repr((about, sorted(p.labelled), sorted(p.searched), labels)).encode())
    return every.hexdigest()


def digest_of_net(bundle: Path) -> str:
    """Of a bundle's model.onnx. Raises ModelsError where there is none."""
    model = bundle / "model.onnx"
    if not model.is_file():
        raise ModelsError(f"{model} is not there: --bundle is the folder of a released detector.")
    return hashlib.sha256(model.read_bytes()).hexdigest()
