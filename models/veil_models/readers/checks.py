"""What every reader asks of what people wrote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from veil_models.dataset import CLASSES, Label
from veil_models.errors import ModelsError

Names = Mapping[str, str | None]
"""Their class names to ours; None for a class that is left out on purpose."""


def number(text: str, where: str) -> float:
    """A finite number. ModelsError says `where` it stands."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ModelsError(f"{where}: {text!r} is not a number.")
    return value


def check_place(label: Label, width: int, height: int, where: str) -> None:
    """ModelsError where a box lies beside its picture as a whole: it belongs to another one, or counts in
    other units."""
    if label.x >= width or label.y >= height or label.x + label.w <= 0 or label.y + label.h <= 0:
        raise ModelsError(
            f"{where}: the box {label.x:g}, {label.y:g}, {label.w:g} x {label.h:g} lies outside of its"
            f" {width}x{height} picture."
        )


def check_named(theirs: Iterable[str], names: Names, where: Path) -> None:
    """ModelsError lists the classes of theirs that `names` says nothing about."""
    unknown = sorted(set(theirs) - set(names))
    if unknown:
        said = ", ".join(repr(name) for name in unknown)
        raise ModelsError(
            f"{where}: has classes that no name maps: {said}; map each to one of {', '.join(CLASSES)}, or to"
            " none to leave it out (--names THEIRS=none)."
        )


def read_text(path: Path) -> str:
    """UTF-8, with or without a byte order mark. ModelsError names `path`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ModelsError(f"{path}: is no UTF-8 text.") from None
    except OSError as error:
        raise ModelsError(f"{path}: cannot be read ({error.strerror}).") from None
