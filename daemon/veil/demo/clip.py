"""The demo's clip, made in code: the public-domain astronaut picture of scikit-image over a drawn street."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from veil.errors import UsageError

Picture = NDArray[np.uint8]

WIDTH, HEIGHT, RATE = 1280, 720, 30
PLATES = ("VEIL 2026", "B DE 4711", "XK 90 LMP")


def write_clip(path: Path, *, seconds: float = 8.0) -> None:
    """Writes an H.264 elementary stream with access unit delimiters, WIDTH x HEIGHT at RATE.

    Everything in it moves on closed curves, so that it can be looped.
    """
    frames = round(seconds * RATE)
    options = {"preset": "veryfast", "crf": "20", "x264-params": "aud=1:repeat-headers=1"}
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = RATE
        stream.codec_context.max_b_frames = 0
        for index, picture in enumerate(scene(frames)):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def scene(frames: int) -> Iterator[Picture]:
    """`frames` BGR pictures of shape (HEIGHT, WIDTH, 3)."""
    astronaut = _astronaut()
    street = _street()
    for index in range(frames):
        turn = 2 * math.pi * index / frames
        picture = street.copy()
        for number, text in enumerate(PLATES):
            phase = turn + number * 2.1
            scale = 0.75 + 0.45 * number + 0.15 * math.sin(phase)
            x = int(WIDTH * (0.5 + 0.34 * math.sin(phase * (1 + number % 2))))
            _draw_car(picture, x, int(HEIGHT * (0.66 + 0.1 * number)), scale, text, number)
        for size, speed, height in ((0.75, 1, 0.30), (0.34, 2, 0.40)):
            width = int(512 * (size + 0.12 * math.sin(turn * speed)))
            x = int((WIDTH - width) * (0.5 + 0.48 * math.cos(turn * speed + size * 5)))
            part = cv2.resize(astronaut, (width, width), interpolation=cv2.INTER_AREA)
            _paste(picture, np.asarray(part, np.uint8), x, height)
        yield picture


def _astronaut() -> Picture:
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise UsageError(
            "The demo's picture is missing.", hint="Run `make setup`: it is part of scikit-image."
        )
    picture = cv2.imread(str(Path(package.origin).parent / "data" / "astronaut.png"), cv2.IMREAD_COLOR)
    if picture is None:
        raise UsageError("The demo's picture cannot be read.", hint="Run `make setup` again.")
    return np.asarray(picture, np.uint8)


def _paste(picture: Picture, part: Picture, x: int, height: float) -> None:
    top = max(0, int(HEIGHT * height - part.shape[0] / 2))
    rows = min(part.shape[0], HEIGHT - top)
    picture[top : top + rows, x : x + part.shape[1]] = part[:rows]


def _street() -> Picture:
    random = np.random.default_rng(2026)
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    horizon = int(HEIGHT * 0.55)
    shade = np.linspace(230, 170, horizon)[:, None]
    picture[:horizon] = np.stack([shade, shade * 0.92, shade * 0.8], axis=-1).astype(np.uint8)
    picture[horizon:] = (90, 92, 95)
    for left in range(0, WIDTH, 160):
        top = int(random.integers(60, horizon - 120))
        colour = tuple(int(c) for c in random.integers(90, 170, 3))
        cv2.rectangle(picture, (left, top), (left + 150, horizon), colour, -1)
        for row in range(top + 16, horizon - 20, 34):
            for column in range(left + 14, left + 140, 34):
                cv2.rectangle(picture, (column, row), (column + 16, row + 20), (205, 215, 220), -1)
    for left in range(0, WIDTH, 180):
        cv2.rectangle(
            picture, (left, int(HEIGHT * 0.8)), (left + 90, int(HEIGHT * 0.81)), (225, 225, 225), -1
        )
    grain = random.integers(-6, 7, picture.shape, np.int16)
    street: Picture = np.clip(picture.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    return street


def _draw_car(picture: Picture, x: int, y: int, scale: float, plate: str, number: int) -> None:
    colours = ((120, 60, 40), (60, 60, 150), (70, 120, 60))
    width, height = int(230 * scale), int(110 * scale)
    left, top = x - width // 2, y - height
    body = colours[number % len(colours)]
    cv2.rectangle(picture, (left, top + height // 3), (left + width, y), body, -1)
    roof = np.array(
        [
            (left + width // 8, top + height // 3),
            (left + width // 4, top),
            (left + 3 * width // 4, top),
            (left + 7 * width // 8, top + height // 3),
        ]
    )
    cv2.fillPoly(picture, [roof], (70, 60, 55))
    for wheel in (left + width // 6, left + 5 * width // 6):
        cv2.circle(picture, (wheel, y), max(4, height // 7), (25, 25, 25), -1)
    for lamp in (left + width // 14, left + width - width // 14):
        cv2.circle(picture, (lamp, top + height // 2), max(3, height // 14), (190, 240, 250), -1)
    plate_width, plate_height = int(104 * scale), int(23 * scale)
    corner = (x - plate_width // 2, y - int(36 * scale))
    end = (corner[0] + plate_width, corner[1] + plate_height)
    cv2.rectangle(picture, corner, end, (245, 245, 245), -1)
    cv2.rectangle(picture, corner, end, (20, 20, 20), max(1, round(scale)))
    size = 0.52 * scale
    cv2.putText(
        picture,
        plate,
        (corner[0] + int(5 * scale), end[1] - int(6 * scale)),
        cv2.FONT_HERSHEY_SIMPLEX,
        size,
        (20, 20, 20),
        max(1, round(1.6 * scale)),
        cv2.LINE_AA,
    )
