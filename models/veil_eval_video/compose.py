"""Puts actors, posts and camera motion together: one frame and its truth at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from veil.domain.geometry import Box
from veil_eval_video.actors import Actor
from veil_eval_video.cutouts import Pixels
from veil_eval_video.degrade import Profile, degrade
from veil_eval_video.truth import TrueObject

Floats = NDArray[np.float32]
_NOBODY, _POST = 0, 1_000_000


@dataclass(frozen=True, slots=True)
class Post:
    """A lamp post or pillar in front of everything, from top to bottom."""

    x: int
    width: int
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a clip is made of; `background` is larger than the frame (`scenes.PAN`)."""

    width: int
    height: int
    background: Pixels
    actors: Sequence[Actor]
    posts: Sequence[Post]
    profile: Profile
    seed: int


def posts_of(width: int, seed: int) -> list[Post]:
    """None to two."""
    random = np.random.default_rng([seed, 7])
    return [
        Post(
            int(random.integers(width // 8, width * 7 // 8)),
            int(random.integers(10, 36)),
            (shade := int(random.integers(60, 150)), shade, min(255, shade + 8)),
        )
        for _ in range(int(random.integers(0, 3)))
    ]


def frames(scene: Scene, count: int) -> Iterator[tuple[Pixels, tuple[TrueObject, ...]]]:
    """`count` frames, [height, width, 3] RGB, with what is in them."""
    random = np.random.default_rng([scene.seed, 11])
    for number in range(count):
        time_s = number / scene.profile.frame_rate
        picture = _view(scene, time_s)
        owner = np.zeros((scene.height, scene.width), np.int32)
        boxes = [(actor, _draw(picture, owner, actor, scene, time_s)) for actor in scene.actors]
        for post in scene.posts:
            picture[:, post.x : post.x + post.width] = post.rgb
            owner[:, post.x : post.x + post.width] = _POST
        found = tuple(
            TrueObject(actor.track_id, actor.cutout.kind, box, visible)
            for actor, box in boxes
            if (visible := _visible(owner, actor.track_id, box)) > 0
        )
        seen = np.clip(picture, 0, 255).astype(np.uint8)
        yield degrade(seen, scene.profile, random), found


def _view(scene: Scene, time_s: float) -> Floats:
    """The part of the background that the camera looks at: it sways slowly."""
    spare_y = scene.background.shape[0] - scene.height
    spare_x = scene.background.shape[1] - scene.width
    phase = 2 * math.pi * time_s / 8 + scene.seed
    x = round(spare_x * (0.5 + 0.5 * math.sin(phase)))
    y = round(spare_y * (0.5 + 0.5 * math.sin(phase * 0.7)))
    return scene.background[y : y + scene.height, x : x + scene.width].astype(np.float32)


def _draw(picture: Floats, owner: NDArray[np.int32], actor: Actor, scene: Scene, time_s: float) -> Box:
    """Draws `actor` and returns where its object is."""
    step_s = 1 / scene.profile.frame_rate
    place = actor.at(time_s, scene.width)
    later = actor.at(time_s + step_s, scene.width)
    cutout = actor.cutout
    scale = place.width / cutout.box.width
    height, width = cutout.alpha.shape
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    sx, sy = size[0] / width, size[1] / height
    centre_x, centre_y = cutout.box.centre
    left, top = place.x - centre_x * sx, place.y - centre_y * sy
    smear = (later.x - place.x) * scene.profile.shutter, (later.y - place.y) * scene.profile.shutter
    layer, pad = _layer(cutout.rgb, cutout.alpha, size, (left % 1, top % 1), smear)
    _blend(picture, owner, layer, math.floor(left) - pad, math.floor(top) - pad, actor.track_id)
    box = cutout.box
    return Box(left + box.x0 * sx, top + box.y0 * sy, left + box.x1 * sx, top + box.y1 * sy)


def _layer(
    rgb: Pixels, alpha: Floats, size: tuple[int, int], shift: tuple[float, float], smear: tuple[float, float]
) -> tuple[Floats, int]:
    """Colour times alpha, and alpha, as [h, w, 4], with a border of `pad` pixels around the cutout."""
    how = cv2.INTER_AREA if size[0] < rgb.shape[1] else cv2.INTER_CUBIC
    small = cv2.resize(rgb, size, interpolation=how).astype(np.float32)
    soft = cv2.resize(
        alpha, size, interpolation=cv2.INTER_AREA if how == cv2.INTER_AREA else cv2.INTER_LINEAR
    )
    layer = np.dstack([small * soft[..., None], soft]).astype(np.float32)
    length = math.hypot(*smear)
    pad = 2 + math.ceil(length / 2)
    layer = np.pad(layer, ((pad, pad), (pad, pad), (0, 0)))
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    moved = cv2.warpAffine(layer, matrix, (layer.shape[1], layer.shape[0]), flags=cv2.INTER_LINEAR)
    if length >= 1:
        moved = cv2.filter2D(moved, -1, _line(smear, pad))
    return np.asarray(moved, np.float32), pad


def _line(smear: tuple[float, float], reach: int) -> Floats:
    """A kernel that smears along a line around its centre, so that the truth stays in the middle."""
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    steps = np.linspace(-0.5, 0.5, 4 * reach + 1)
    for step in steps:
        kernel[round(reach + step * smear[1]), round(reach + step * smear[0])] += 1
    return np.asarray(kernel / kernel.sum(), np.float32)


def _blend(
    picture: Floats, owner: NDArray[np.int32], layer: Floats, left: int, top: int, track_id: int
) -> None:
    height, width = picture.shape[:2]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + layer.shape[1]), min(height, top + layer.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = layer[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = part[..., 3:]
    picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1] * (1 - alpha) + part[..., :3]
    owner[y0:y1, x0:x1][alpha[..., 0] > 0.5] = track_id


def _visible(owner: NDArray[np.int32], track_id: int, box: Box) -> float:
    """Share of the box that belongs to the object; what lies over the frame's edge does not."""
    x0, y0, x1, y1 = (round(edge) for edge in (box.x0, box.y0, box.x1, box.y1))
    area = max(1, (x1 - x0) * (y1 - y0))
    part = owner[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    return float((part == track_id).sum()) / area
