"""Which part of a frame the model sees, and how: letterboxes at the top left, tiles at native scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veil.errors import ConfigError

Boxes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class InputLimit:
    """The largest input. Where `dynamic`, it is cut in steps of `multiple` and turned for upright frames."""

    width: int
    height: int
    multiple: int
    dynamic: bool

    def __post_init__(self) -> None:
        if self.width % self.multiple or self.height % self.multiple:
            raise ConfigError(
                f"the detector's input of {self.width}x{self.height} is not a multiple of {self.multiple}.",
                hint=f"Use {_up(self.width, self.multiple)}x{_up(self.height, self.multiple)}.",
            )

    def turned_for(self, width: int, height: int) -> InputLimit:
        """The same area, upright for upright frames, where the model allows it."""
        if self.dynamic and (width < height) != (self.width < self.height):
            return InputLimit(self.height, self.width, self.multiple, self.dynamic)
        return self

    def around(self, width: int, height: int) -> tuple[int, int]:
        """The input's size for a content of `width` x `height`."""
        if not self.dynamic:
            return self.width, self.height
        return _up(width, self.multiple), _up(height, self.multiple)


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of the frame (even position and size) at the top left of the input, scaled; black beyond.

    Attributes:
        x, y, width, height: the rectangle, pixels of the frame.
        content_width, content_height: its size in the input, even.
        input_width, input_height: size of the input.
    """

    x: int
    y: int
    width: int
    height: int
    content_width: int
    content_height: int
    input_width: int
    input_height: int

    def to_frame(self, boxes: Boxes) -> Boxes:
        """[N, 4] x0, y0, x1, y1 from pixels of the input to pixels of the frame."""
        sx, sy = self.width / self.content_width, self.height / self.content_height
        scale = np.array([sx, sy, sx, sy], np.float32)
        return boxes * scale + np.array([self.x, self.y, self.x, self.y], np.float32)


def whole_view(width: int, height: int, limit: InputLimit) -> View:
    """All of a frame of even `width` x `height`, aspect kept to the rounding to even pixels."""
    limit = limit.turned_for(width, height)
    scale = min(limit.width / width, limit.height / height)
    content = (_even_side(width * scale, limit.width), _even_side(height * scale, limit.height))
    return View(0, 0, width, height, *content, *limit.around(*content))


def tile_view(x: int, y: int, width: int, height: int, limit: InputLimit) -> View:
    """A tile without scaling; its even size is at most the limit's."""
    return View(x, y, width, height, width, height, *limit.around(width, height))


def _even_side(side: float, most: int) -> int:
    return min(most, max(2, 2 * round(side / 2)))


def _up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple
