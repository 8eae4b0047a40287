"""The one full-size copy of a frame: from the decoder's picture into a slot of the camera's pool."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Final, TypeAlias

import av
import cv2
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from veil.errors import CaptureError
from veil.frames.picture import ColorInfo, PlaneArray, Planes
from veil.frames.pool import Slot, even

_NEUTRAL: Final = 128
_JPEG_RANGE: Final = 2
_RGB_MATRIX: Final = 0
_BT709: Final = 1
_BT601: Final = 6
_HD_HEIGHT: Final = 720

Sample: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
_Chroma: TypeAlias = tuple[Sample, Sample] | None


@dataclass(frozen=True, slots=True)
class Picture:
    """Planes to copy from; they need not outlive the copy.

    Attributes:
        luma: height x width, 8 bit, or 10 in 16.
        chroma: U and V, as large as luma or half of it in either direction; None for grey.
    """

    luma: Sample
    chroma: tuple[Sample, Sample] | None
    color: ColorInfo

    @property
    def width(self) -> int:
        return int(self.luma.shape[1])

    @property
    def height(self) -> int:
        return int(self.luma.shape[0])


class Rotation(IntEnum):
    """Quarter turns counterclockwise that bring a picture upright, with left and right swapped before."""

    NONE = 0
    LEFT = 1
    HALF = 2
    RIGHT = 3
    MIRRORED = 4
    MIRRORED_LEFT = 5
    MIRRORED_HALF = 6
    MIRRORED_RIGHT = 7

    @classmethod
    def of_matrix(cls, matrix: Sequence[int]) -> Rotation:
        """The nearest to a display matrix a, b, _, c, d, ... (it moves (x, y) to (a x + c y, b x + d y))."""
        a, b, _, c, d = matrix[:5]
        return max(cls, key=lambda one: np.dot(one._axes, (a, b, c, d)))

    @property
    def turns(self) -> int:
        return self % 4

    @property
    def is_mirrored(self) -> bool:
        return self >= Rotation.MIRRORED

    @property
    def is_on_its_side(self) -> bool:
        return self % 2 == 1

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Visible size after the turn."""
        return (height, width) if self.is_on_its_side else (width, height)

    def turn(self, plane: Sample) -> Sample:
        """A view of the plane."""
        return np.rot90(plane[:, ::-1] if self.is_mirrored else plane, self.turns)

    @property
    def _axes(self) -> tuple[int, int, int, int]:
        """Where the turn takes a step to the right, and one down."""
        right, down = (-1 if self.is_mirrored else 1, 0), (0, 1)
        for _ in range(self.turns):
            right, down = (right[1], -right[0]), (down[1], -down[0])
        return *right, *down


_LONGEST_SAMPLE: Final = 16


def aspect_of(ratio: Fraction | None, rotation: Rotation) -> tuple[int, int]:
    """`ColorInfo.aspect` after the turn; square where the source says nothing or nonsense."""
    if not ratio or not Fraction(1, _LONGEST_SAMPLE) <= ratio <= _LONGEST_SAMPLE:
        return 1, 1
    near = ratio.limit_denominator(4096)
    shape = near.numerator, near.denominator
    return shape[::-1] if rotation.is_on_its_side else shape


class DisplayMatrix:
    """That of a stream's pictures, rounded to quarter turns. One per stream.

    It is read with keyframes, and where its angle changes. A picture whose side data was asked for is not
    freed before Python searches for garbage (PyAV makes a cycle of it): with each one asked, each took new
    memory from the system, which cost 2 ms at 1080p.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self._rotation: Rotation | None = None

    def of(self, frame: av.VideoFrame) -> Rotation:
        """That of this picture; pictures come in the order of decoding or of presentation."""
        angle = _angle(frame)
        if self._rotation is None or frame.key_frame or angle != self._angle:
            self._angle, self._rotation = angle, _rotation_of(frame)
        return self._rotation


def _angle(frame: av.VideoFrame) -> int | None:
    """In degrees, mirrored or not; None where the matrix has none."""
    try:
        return frame.rotation
    except ValueError:
        return None


def _rotation_of(frame: av.VideoFrame) -> Rotation:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return Rotation.of_matrix(struct.unpack("=9i", matrix)) if isinstance(matrix, Buffer) else Rotation.NONE


class FrameCopier:
    """Copies decoded pictures into slots.

    One per source: it keeps the colour converter of the rarer formats.

    Attributes:
        full_size_copies: how often pixels of a whole frame were written since the start. One a frame for
            4:2:0, 4:2:2, 4:4:4, grey, NV12 and YUYV of 8 bit, and planar 10 bit 4:2:0; two for all else.
    """

    def __init__(self) -> None:
        self.full_size_copies = 0
        self._reformatter = VideoReformatter()

    def copy(
        self, source: av.VideoFrame | Picture, slot: Slot, rotation: Rotation = Rotation.NONE
    ) -> ColorInfo:
        """Fills the whole slot; odd sizes are padded to even by repeating the last row and column.

        Raises:
            CaptureError: the slot has another size than the (turned) picture, or the format is unknown.
        """
        if tuple(map(even, rotation.size(source.width, source.height))) != (slot.width, slot.height):
            raise CaptureError(
                f"A picture of {source.width}x{source.height} does not fit into {slot.width}x{slot.height}."
            )
        picture = source if isinstance(source, Picture) else self._picture(source)
        _store(picture, slot.planes, rotation)
        self.full_size_copies += 1
        return picture.color

    def leave_blank(self, like: av.VideoFrame, slot: Slot) -> ColorInfo:
        """Fills the slot with grey, in the colours that `like` would have; none of its pixels is read."""
        for plane in slot.planes:
            plane[...] = _NEUTRAL
        return _color(like)

    def _picture(self, frame: av.VideoFrame) -> Picture:
        color = _color(frame)
        reader = _READERS.get(frame.format.name)
        if reader is None:
            frame = self._converted(frame)
            reader = _read_planar
        return Picture(*reader(frame), color)

    def _converted(self, frame: av.VideoFrame) -> av.VideoFrame:
        target: Colorspace | None = None
        if _is_rgb(frame):
            target = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
        try:
            converted = self._reformatter.reformat(frame, format="yuv420p", dst_colorspace=target, threads=1)
        except (av.FFmpegError, ValueError) as error:
            raise CaptureError(
                f"Pictures of format {frame.format.name} cannot be converted ({type(error).__name__})."
            ) from None
        self.full_size_copies += 1
        return converted


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.name == "pal8" or frame.format.is_bayer


def _color(frame: av.VideoFrame) -> ColorInfo:
    """Of the slot that the frame is copied to."""
    is_jpeg = frame.color_range == _JPEG_RANGE or frame.format.name.startswith("yuvj")
    matrix = int(frame.colorspace)
    if _is_rgb(frame):
        is_jpeg, matrix = False, _BT709 if frame.height >= _HD_HEIGHT else _BT601
    return ColorInfo(
        full_range=is_jpeg,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        # Matrix 0 is RGB, which no slot holds; some encoders write it for "not said".
        matrix=2 if matrix == _RGB_MATRIX else matrix,
    )


def _plane(frame: av.VideoFrame, index: int, width: int, height: int) -> PlaneArray:
    plane = frame.planes[index]
    flat: PlaneArray = np.frombuffer(memoryview(plane), np.uint8)
    stride = abs(plane.line_size)
    return flat[: stride * height].reshape(height, stride)[:, :width]


def _chroma_size(frame: av.VideoFrame) -> tuple[int, int]:
    return frame.format.chroma_width(frame.width), frame.format.chroma_height(frame.height)


def _read_planar(frame: av.VideoFrame) -> tuple[Sample, _Chroma]:
    width, height = _chroma_size(frame)
    luma = _plane(frame, 0, frame.width, frame.height)
    return luma, (_plane(frame, 1, width, height), _plane(frame, 2, width, height))


def _read_planar_10(frame: av.VideoFrame) -> tuple[Sample, _Chroma]:
    width, height = _chroma_size(frame)
    luma = _plane(frame, 0, frame.width * 2, frame.height).view(np.uint16)
    return luma, (
        _plane(frame, 1, width * 2, height).view(np.uint16),
        _plane(frame, 2, width * 2, height).view(np.uint16),
    )


def _read_nv12(frame: av.VideoFrame) -> tuple[Sample, _Chroma]:
    width, height = _chroma_size(frame)
    pairs = _plane(frame, 1, width * 2, height)
    return _plane(frame, 0, frame.width, frame.height), (pairs[:, 0::2], pairs[:, 1::2])


def _read_grey(frame: av.VideoFrame) -> tuple[Sample, _Chroma]:
    return _plane(frame, 0, frame.width, frame.height), None


def _read_yuyv(frame: av.VideoFrame) -> tuple[Sample, _Chroma]:
    packed = _plane(frame, 0, even(frame.width) * 2, frame.height)
    return packed[:, 0 : frame.width * 2 : 2], (packed[:, 1::4], packed[:, 3::4])


_READERS: Final[dict[str, Callable[[av.VideoFrame], tuple[Sample, _Chroma]]]] = {
    "yuv420p": _read_planar,
    "yuvj420p": _read_planar,
    "yuv422p": _read_planar,
    "yuvj422p": _read_planar,
    "yuv444p": _read_planar,
    "yuvj444p": _read_planar,
    "yuv420p10le": _read_planar_10,
    "nv12": _read_nv12,
    "gray": _read_grey,
    "yuyv422": _read_yuyv,
}


def _store(picture: Picture, planes: Planes, rotation: Rotation) -> None:
    _put(rotation.turn(picture.luma), planes.y)
    for source, target in zip(picture.chroma or (None, None), (planes.u, planes.v), strict=True):
        if source is None:
            target[...] = _NEUTRAL
        else:
            _put_chroma(rotation.turn(source), target)


def _put(source: Sample, target: PlaneArray) -> None:
    """Writes `source` into the upper left of `target` and repeats its last row and column."""
    height, width = source.shape
    if source.dtype == np.uint16:
        np.right_shift(source, 2, out=target[:height, :width], casting="unsafe")
    else:
        target[:height, :width] = source
    if width < target.shape[1]:
        target[:height, width:] = target[:height, width - 1 : width]
    if height < target.shape[0]:
        target[height:] = target[height - 1 : height]


def _put_chroma(source: Sample, target: PlaneArray) -> None:
    """As `_put`, where `source` may be up to twice as wide or high: pairs of samples are averaged."""
    height, width = target.shape
    if source.shape == target.shape:
        _put(source, target)
        return
    wide: PlaneArray = np.ascontiguousarray(source, np.uint8)
    pad_rows = 2 * height - source.shape[0] if source.shape[0] > height else 0
    pad_columns = 2 * width - source.shape[1] if source.shape[1] > width else 0
    if pad_rows or pad_columns:
        wide = np.pad(wide, ((0, pad_rows), (0, pad_columns)), mode="edge")
    if wide.shape[1] == width:
        target[...] = cv2.addWeighted(wide[0::2], 0.5, wide[1::2], 0.5, 0)
    else:
        # Of a factor of two in this direction or both, linear is the mean.
        target[...] = cv2.resize(wide, (width, height), interpolation=cv2.INTER_LINEAR)
