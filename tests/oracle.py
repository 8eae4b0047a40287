"""Markers in place of faces: a scene whose faces a machine can read, a detector that knows where they are,
and the search for anything readable in what came out.

The markers are ArUco (6x6, 250 of them: noise does not look like one). Each picture carries its number in a
band along the top, so that the truth is known from the picture alone, after any codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

from media import Clip, Image, number_of
from veil.domain.detection import Detection, DetectionReport, ObjectClass
from veil.domain.geometry import Box
from veil.domain.thresholds import ClassThresholds
from veil.encode.packet import MaskedPacket, StreamInfo
from veil.frames.raw import RawFrame

_DICTIONARY = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_6X6_250)
_PARAMETERS = cv2.aruco.DetectorParameters()
_READER = cv2.aruco.ArucoDetector(_DICTIONARY, _PARAMETERS)
_MODULES = 8
_BITS, _HALF = 12, 6
PICTURES = 1 << _HALF
_SOLID_LUMA = 16


@dataclass(frozen=True)
class Placed:
    """A marker with its white border, in whole pixels of the picture."""

    marker: int
    box: Box


class Scene:
    """Pictures of one size. The same number gives the same scene at every size.

    Args:
        markers: how many move through it.
        share: side of a marker with its border, as a share of the picture's height.
    """

    def __init__(self, width: int, height: int, markers: int = 2, share: float = 0.36) -> None:
        self.width, self.height, self.markers, self.share = width, height, markers, share
        rows, columns = np.mgrid[0:height, 0:width]
        texture = np.random.default_rng(5).integers(-3, 4, (height, width))
        plain = 70 + columns * 90 // max(1, width) + rows * 40 // max(1, height)
        self._back = np.clip(plain + texture, 0, 255).astype(np.uint8)

    def places(self, number: int) -> tuple[Placed, ...]:
        """Where the markers of picture `number` are. After PICTURES pictures it begins again."""
        # Masks are larger than markers and must not cover the band.
        top = max(4, self.height // 8) + int(self.height * self.share * 0.3)
        placed = []
        for index in range(self.markers):
            phase = 2 * np.pi * (number / PICTURES + index / 3)
            side = int(self.height * self.share * (1 + 0.12 * np.sin(phase * 2)))
            side = max(1, side // (_MODULES + 2)) * (_MODULES + 2)
            # Each has its part of the width, so that none hides another.
            part = self.width // self.markers
            free_x, free_y = part - side - 4, self.height - top - side - 2
            x = index * part + 2 + int((0.5 + 0.5 * np.sin(phase * (1 + index))) * free_x)
            y = top + int((0.5 + 0.5 * np.cos(phase)) * free_y)
            placed.append(Placed((17 + 31 * index) % 250, Box(x, y, x + side, y + side)))
        return tuple(placed)

    def luma(self, number: int) -> Image:
        """The picture, height x width."""
        image = self._back.copy()
        band, block = max(4, self.height // 8), max(2, self.width // _BITS)
        shown = shown_number(number)
        for bit in range(_BITS):
            image[:band, bit * block : (bit + 1) * block] = 235 if shown >> bit & 1 else 16
        for placed in self.places(number):
            x0, y0, x1, y1 = (int(edge) for edge in corners(placed.box))
            module = (x1 - x0) // (_MODULES + 2)
            image[y0:y1, x0:x1] = 240
            image[y0 + module : y1 - module, x0 + module : x1 - module] = _marker(
                placed.marker, x1 - x0 - 2 * module
            )
        return image

    def rgb(self, number: int) -> Image:
        """The picture in colour, height x width x 3."""
        image = np.repeat(self.luma(number)[..., None], 3, axis=2)
        image[..., 2] = np.clip(image[..., 2].astype(np.int16) - 6, 0, 255).astype(np.uint8)
        return image

    def exposed(self, luma: Image) -> float:
        """Largest share of a marker that is not painted solid in a picture that left; 0 without a band.

        Stricter than reading: half a marker cannot be read, and is half a face.
        """
        number = truth_number(luma)
        if number is None:
            return 0.0
        shares = [0.0]
        for placed in self.places(number):
            x0, y0, x1, y1 = (int(edge) for edge in corners(placed.box))
            inside = luma[y0:y1, x0:x1].astype(np.int16)
            shares.append(float(np.mean(np.abs(inside - _SOLID_LUMA) > 40)))
        return max(shares)


@lru_cache(maxsize=32)
def _marker(marker: int, side: int) -> Image:
    return np.asarray(cv2.aruco.generateImageMarker(_DICTIONARY, marker, side), np.uint8)


@lru_cache(maxsize=16)
def scene_of(width: int, height: int, markers: int = 2, share: float = 0.36) -> Scene:
    """The same scene at another size."""
    return Scene(width, height, markers, share)


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def shown_number(number: int) -> int:
    """What the band says: the number and its complement, so that a band under a mask says nothing."""
    low = number % PICTURES
    return low | (PICTURES - 1 - low) << _HALF


def truth_number(luma: Image) -> int | None:
    """Which picture of the scene this is; None where the band is hidden, or there is no scene."""
    height, width = luma.shape
    band, block = max(4, height // 8), max(2, width // _BITS)
    top = luma[band // 4 : band * 3 // 4, : block * _BITS]
    if int(top.max()) - int(top.min()) < 120:
        return None
    shown = number_of(luma)
    low = shown % PICTURES
    return low if shown == shown_number(low) else None


class OracleDetector:
    """Knows where the markers are, from the number in the picture's band. A `veil.detect.detector.Detector`.

    Args:
        markers, share: of the scene.
    """

    def __init__(self, markers: int = 2, share: float = 0.36) -> None:
        self._markers, self._share = markers, share

    @property
    def identity(self) -> str:
        return "oracle@1.0.0"

    @property
    def thresholds(self) -> Mapping[ObjectClass, ClassThresholds]:
        return {ObjectClass.FACE: ClassThresholds(0.3, 0.1)}

    def detect(self, raw: RawFrame) -> DetectionReport:
        info = raw.info
        number = truth_number(raw.planes.y[: info.height, : info.width])
        found: tuple[Detection, ...] = ()
        if number is not None:
            scene = scene_of(info.width, info.height, self._markers, self._share)
            found = tuple(Detection(ObjectClass.FACE, one.box, 0.9) for one in scene.places(number))
        return DetectionReport(info.sequence, found, (self.identity,))


def read_once(luma: Image) -> list[int]:
    """Ids of the markers that can be read in the picture as it is."""
    _, ids, _ = _READER.detectMarkers(np.ascontiguousarray(luma))
    return [] if ids is None else sorted(int(one) for one in ids.ravel())


def readable(luma: Image) -> list[int]:
    """Ids of the markers that can be read in a picture by any of several means: as it is, at twice and half
    the size, and with its contrast stretched, as a whole and locally."""
    luma = np.ascontiguousarray(luma)
    found: set[int] = set()
    for size in (luma, _scaled(luma, 2.0), _scaled(luma, 0.5)):
        local = cv2.createCLAHE(clipLimit=8.0, tileGridSize=(8, 8)).apply(size)
        stretched = cv2.normalize(size, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
        for variant in (size, stretched, local):
            found.update(read_once(variant))
    return sorted(found)


def _scaled(luma: Image, factor: float) -> Image:
    return np.asarray(cv2.resize(luma, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR), np.uint8)


def luma_of(frame: av.VideoFrame) -> Image:
    """The luma of any decoded picture."""
    return np.asarray(frame.to_ndarray(format="gray"), np.uint8)


def pictures_in(path: Path) -> Iterator[Image]:
    """Luma of every picture of a video or image file, in order of decoding."""
    with av.open(f"file:{path}") as container:
        for stream in container.streams.video:
            for frame in container.decode(stream):
                yield luma_of(frame)
            container.seek(0)


class PacketDecoder:
    """Decodes masked packets as any viewer would: each stream from its parameter sets on."""

    def __init__(self) -> None:
        self._stream: StreamInfo | None = None
        self._context: av.VideoCodecContext | None = None

    def pictures(self, packet: MaskedPacket) -> list[Image]:
        if self._context is None or packet.stream != self._stream:
            self._stream = packet.stream
            context = av.CodecContext.create("h264", "r")
            assert isinstance(context, av.VideoCodecContext)
            context.thread_count = 1
            context.extradata = packet.stream.extradata
            self._context = context
        return [_cropped(frame) for frame in self._context.decode(av.Packet(packet.data))]


def _cropped(frame: av.VideoFrame) -> Image:
    plane = frame.planes[0]
    flat: Image = np.frombuffer(memoryview(plane), np.uint8)
    return flat.reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def decode_packets(packets: Iterable[MaskedPacket]) -> list[Image]:
    """Luma of every picture in `packets`."""
    decoder = PacketDecoder()
    return [picture for packet in packets for picture in decoder.pictures(packet)]


def scene_clip(scene: Scene, *, frames: int, rate: int = 25, codec: str = "h264") -> Clip:
    """A clip of the scene, of a quality in which every marker can be read."""
    return Clip(
        width=scene.width,
        height=scene.height,
        frames=frames,
        rate=rate,
        codec=codec,
        keyframe_interval=rate,
        draw=lambda width, height, number: scene_of(width, height, scene.markers, scene.share).rgb(number),
        options=(("crf", "14"),) if codec == "h264" else (),
    )
