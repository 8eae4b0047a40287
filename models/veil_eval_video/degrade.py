"""What cameras do to a picture: noise, night, infrared, soft lenses, few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

FLOOR = 24
"""No pixel of a clip is darker than this: what is black in an output is then a mask, and nothing else."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of camera and hour.

    Attributes:
        noise: standard deviation of the sensor's noise, grey levels.
        light: gain before noise; below 1 it is dark.
        colour: share of the colour that is left; 0 is grey.
        defocus: standard deviation of the lens' blur, pixels.
        shutter: share of the time between frames during which things in motion smear.
        vignette: share of the light that the corners lose (infrared lamps).
        bit_rate: of the clip's H.264.
    """

    name: str
    frame_rate: int = 30
    noise: float = 2.0
    light: float = 1.0
    colour: float = 1.0
    defocus: float = 0.0
    shutter: float = 0.3
    vignette: float = 0.0
    bit_rate: int = 4_000_000


PROFILES = (
    Profile("day"),
    Profile("noise", frame_rate=25, noise=9.0, bit_rate=3_000_000),
    Profile("motion", frame_rate=25, shutter=0.9, defocus=0.7, bit_rate=3_000_000),
    Profile("night", frame_rate=15, noise=8.0, light=0.4, colour=0.4, shutter=0.6, bit_rate=2_000_000),
    Profile("infrared", frame_rate=20, noise=6.0, light=0.8, colour=0.0, vignette=0.6, bit_rate=1_500_000),
    Profile("few-bits", frame_rate=30, noise=3.0, defocus=0.4, bit_rate=1_000_000),
)


def degrade(rgb: Pixels, profile: Profile, random: np.random.Generator) -> Pixels:
    """The picture as that camera delivers it, [H, W, 3] RGB."""
    seen: NDArray[np.floating[Any]] = rgb.astype(np.float32)
    if profile.defocus:
        seen = cv2.GaussianBlur(seen, (0, 0), profile.defocus).astype(np.float32)
    if profile.colour < 1:
        grey = cv2.cvtColor(np.clip(seen, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        seen = seen * profile.colour + grey[..., None].astype(np.float32) * (1 - profile.colour)
    if profile.vignette:
        seen = seen * _vignette(seen.shape[0], seen.shape[1], profile.vignette)
    seen = seen * profile.light
    noise = random.standard_normal(rgb.shape[:2], np.float32)[..., None] * profile.noise
    seen = np.clip(seen + noise, 0, 255) * ((255 - FLOOR) / 255) + FLOOR
    return np.asarray(seen.round(), np.uint8)


def _vignette(height: int, width: int, loss: float) -> NDArray[np.float32]:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return (1 - loss * np.clip(x * x + y * y, 0, 1))[..., None].astype(np.float32)
