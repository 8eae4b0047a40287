"""What a camera's stream was before its process ended: the slates of the next process fit into it, so that
viewers stay connected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from veil.emit import EncoderSpec, Encodes, Makers
from veil.frames.picture import ColorInfo

_Size = Annotated[int, Field(ge=2, le=16384, multiple_of=2)]
_Part = Annotated[int, Field(ge=1, le=65535)]
_Code = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, slots=True)
class LastStream:
    """Coded size in pixels, nominal frames a second, and colour as in `ColorInfo`."""

    width: _Size
    height: _Size
    frame_rate: Annotated[float, Field(ge=1, le=240)]
    full_range: bool
    primaries: _Code
    transfer: _Code
    matrix: _Code
    aspect: tuple[_Part, _Part] = (1, 1)

    @property
    def color(self) -> ColorInfo:
        return ColorInfo(self.full_range, self.primaries, self.transfer, self.matrix, self.aspect)


_ADAPTER: TypeAdapter[LastStream] = TypeAdapter(LastStream)


def recall(path: Path) -> LastStream | None:
    """What was remembered; None where nothing was, or it makes no sense."""
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def remember(path: Path, spec: EncoderSpec, frame_rate: float) -> None:
    """Replaces what was remembered. Failing to do so costs viewers a new connection, and nothing else."""
    color = spec.color
    part = path.with_suffix(".part")
    with suppress(OSError):
        part.write_bytes(
            _ADAPTER.dump_json(
                LastStream(
                    spec.width,
                    spec.height,
                    frame_rate,
                    color.full_range,
                    color.primaries,
                    color.transfer,
                    color.matrix,
                    color.aspect,
                )
            )
        )
        part.replace(path)


def remembering(makers: Makers, path: Path, frame_rate: Callable[[], float]) -> Makers:
    """`makers`, with each encoder remembered as it is made."""

    def encoder(spec: EncoderSpec) -> AbstractContextManager[Encodes]:
        remember(path, spec, frame_rate())
        return makers.encoder(spec)

    return replace(makers, encoder=encoder)
