"""`--classes`: which of the model's classes are faces, plates or heads."""

from __future__ import annotations

from dataclasses import dataclass

from veil.domain.detection import ObjectClass
from veil.errors import UsageError

_HINT = "Say face, plate, head or none for each class of the model in its order; or face=0,plate=3."


@dataclass(frozen=True, slots=True)
class Wanted:
    """The bundle's classes.

    Attributes:
        classes: each once.
        channels: for each, which of the model's classes it is.
        named: how many classes the model has, where all were named; None where they were picked by index.
    """

    classes: tuple[ObjectClass, ...]
    channels: tuple[int, ...]
    named: int | None


def parse_classes(text: str) -> Wanted:
    """`face`, `face,none,plate` (one for each class of the model, in order) or `face=0,plate=3`.

    Raises UsageError.
    """
    words = [word.strip() for word in text.split(",")]
    by_index = ["=" in word for word in words]
    if any(by_index) and not all(by_index):
        raise UsageError(f"--classes {text!r} mixes two ways of naming.", hint=_HINT)
    found: list[tuple[ObjectClass, int]] = []
    for position, word in enumerate(words):
        name, given, index = word.partition("=")
        if word == "none":
            continue
        if name not in list(ObjectClass) or (given and not (index.isascii() and index.isdecimal())):
            raise UsageError(f"--classes {text!r}: {word!r} is not a class.", hint=_HINT)
        found.append((ObjectClass(name), int(index) if index else position))
    kinds = tuple(kind for kind, _ in found)
    channels = tuple(channel for _, channel in found)
    if not found or len(set(kinds)) != len(kinds) or len(set(channels)) != len(channels):
        raise UsageError(f"--classes {text!r} needs at least one class, and each once.", hint=_HINT)
    return Wanted(kinds, channels, None if any(by_index) else len(words))
