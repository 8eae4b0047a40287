"""The planes of one I420 picture and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PlaneArray = NDArray[np.uint8]


class Planes(NamedTuple):
    """Views into a slot: `y` (height, width), `u` and `v` (height / 2, width / 2), uint8."""

    y: PlaneArray
    u: PlaneArray
    v: PlaneArray


@dataclass(frozen=True, slots=True)
class ColorInfo:
    """How samples are to be shown: their light as numbers of ITU-T H.273 (2 = unspecified), `full_range` for
    JPEG levels; `aspect`: width to height of one sample."""

    full_range: bool = False
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    aspect: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What is known about a frame besides its pixels.

    Attributes:
        sequence: counts up by one for each captured frame of one camera process, over reconnects too.
        pts, time_base: capture's media time; `pts` rises strictly within one `epoch`.
        epoch: counts up whenever the source was opened anew or changed its picture size.
        captured_ns: monotonic time at which the frame was complete on this machine.
        width, height: visible size in pixels; may be odd, the slot is padded to even.
        mark: words to write over the masked picture, such as "picture frozen"; empty: none.
        is_damaged: the source had no whole picture here: there is nothing to detect, and all of it is hidden.
    """

    sequence: int
    pts: int
    time_base: Fraction
    epoch: int
    captured_ns: int
    width: int
    height: int
    color: ColorInfo = ColorInfo()
    mark: str = ""
    is_damaged: bool = False
