"""From the planes of an I420 slot to the model's picture tensor, never by way of a full-size RGB picture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.detect.exposure import brighten, gain_for
from veil.detect.runtime import Tensor, TensorSpec
from veil.detect.view import View
from veil.frames.picture import ColorInfo, PlaneArray, Planes

_TO_VIDEO_LEVELS = {"luma": (219 / 255, 16.0), "chroma": (224 / 255, 128 - 128 * 224 / 255)}


class Preprocessor:
    """Fills one tensor from views of one shape; all buffers are allocated here and used again.

    Each plane is scaled by itself and only the result becomes RGB (or BGR), always with BT.601 coefficients:
    what BT.709 changes in colours is less than what cameras and lamps do.

    Scaling halves by area while the picture is at least twice too large, then goes on linearly. At 1080p that
    costs a sixth more than linear alone, which at this ratio reads one pixel in nine, and a quarter of an
    area resize, to which it comes close. Dark pictures are brightened (`veil.detect.exposure`).

    Args:
        view: any view of the shape; later ones differ in position alone.
        spec: of the runtime.
    """

    def __init__(self, view: View, spec: TensorSpec) -> None:
        self._spec = spec
        self._content = (view.content_width, view.content_height)
        self._y = _PlaneScaler(view.width, view.height, *self._content)
        self._uv = _PlaneScaler(view.width // 2, view.height // 2, *(side // 2 for side in self._content))
        width, height = self._content
        self._i420: PlaneArray = np.zeros((height * 3 // 2, width), np.uint8)
        flat, luma, chroma = self._i420.reshape(-1), width * height, width * height // 4
        self._small = Planes(
            self._i420[:height],
            flat[luma : luma + chroma].reshape(height // 2, width // 2),
            flat[luma + chroma :].reshape(height // 2, width // 2),
        )
        self._packed: PlaneArray = np.zeros((view.input_height, view.input_width, 3), np.uint8)
        self._part = self._packed[:height, :width]
        self._code = cv2.COLOR_YUV2RGB_I420 if spec.color == "rgb" else cv2.COLOR_YUV2BGR_I420
        self._channels = [np.zeros((view.input_height, view.input_width), np.uint8) for _ in range(3)]
        self._tensor = self._allocate(view)
        self._gain = 1.0

    @property
    def gain(self) -> float:
        """By what the last view was brightened."""
        return self._gain

    def fill(self, planes: Planes, color: ColorInfo, view: View, gain: float | None = None) -> Tensor:
        """The tensor for `view` of the picture; the same memory each time, valid until the next call.

        `planes` are read only, in even sizes (slots are). `gain`: to brighten by; None: what this view needs.
        """
        x, y, half_x, half_y = view.x, view.y, view.x // 2, view.y // 2
        bottom, right = half_y + view.height // 2, half_x + view.width // 2
        self._y.scale(planes.y[y : y + view.height, x : x + view.width], self._small.y)
        self._uv.scale(planes.u[half_y:bottom, half_x:right], self._small.u)
        self._uv.scale(planes.v[half_y:bottom, half_x:right], self._small.v)
        if color.full_range:
            self._to_video_levels()
        self._gain = gain_for(self._small.y) if gain is None else gain
        brighten(self._small, self._gain)
        cv2.cvtColor(self._i420, self._code, dst=self._part)
        self._pack()
        return self._tensor

    def _to_video_levels(self) -> None:
        for plane, kind in ((self._small.y, "luma"), (self._small.u, "chroma"), (self._small.v, "chroma")):
            gain, offset = _TO_VIDEO_LEVELS[kind]
            cv2.convertScaleAbs(plane, dst=plane, alpha=gain, beta=offset)

    def _allocate(self, view: View) -> Tensor:
        height, width = view.input_height, view.input_width
        shape = (1, 3, height, width) if self._spec.layout == "nchw" else (1, height, width, 3)
        tensor: NDArray[Any] = np.zeros(shape, self._spec.dtype)
        if self._spec.dtype == "uint8":
            if self._spec.layout == "nchw":
                self._channels = list(tensor[0])
            else:
                self._packed = tensor[0]
                self._part = self._packed[: self._content[1], : self._content[0]]
        return tensor

    def _pack(self) -> None:
        match self._spec.layout, self._spec.dtype:
            case "nhwc", "uint8":
                pass  # the tensor is the packed picture
            case "nhwc", "int8":
                np.bitwise_xor(self._packed, np.uint8(128), out=self._tensor[0].view(np.uint8))
            case "nhwc", _:
                mean = np.array(self._spec.mean, np.float32)
                np.subtract(self._packed, mean, out=self._tensor[0])
                self._tensor *= np.float32(self._spec.scale)
            case "nchw", "uint8":
                self._split()
            case _:
                self._split()
                for index, channel in enumerate(self._channels):
                    target = self._tensor[0, index]
                    np.subtract(channel, np.float32(self._spec.mean[index]), out=target)
                    if self._spec.scale != 1.0:
                        target *= np.float32(self._spec.scale)

    def _split(self) -> None:
        """Packed to planar, into the memory of `_channels` (five times as fast as a transposing copy)."""
        cv2.split(self._packed, self._channels)


class _PlaneScaler:
    """Scales planes of one size to another: halvings by area, then linear."""

    def __init__(self, width: int, height: int, to_width: int, to_height: int) -> None:
        self._target = (to_width, to_height)
        self._steps: list[PlaneArray] = []
        while width >= 2 * to_width and height >= 2 * to_height and not (width % 2 or height % 2):
            width, height = width // 2, height // 2
            if (width, height) == self._target:
                break
            self._steps.append(np.zeros((height, width), np.uint8))

    def scale(self, source: PlaneArray, target: PlaneArray) -> None:
        if source.shape == target.shape:
            np.copyto(target, source)
            return
        for step in self._steps:
            cv2.resize(source, step.shape[::-1], dst=step, interpolation=cv2.INTER_AREA)
            source = step
        exact_half = (source.shape[1], source.shape[0]) == (2 * self._target[0], 2 * self._target[1])
        how = cv2.INTER_AREA if exact_half else cv2.INTER_LINEAR
        cv2.resize(source, self._target, dst=target, interpolation=how)
