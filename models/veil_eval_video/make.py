"""Clips with exact truth, written as H.264."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from veil.domain.detection import ObjectClass
from veil_eval_video.actors import cast
from veil_eval_video.compose import Scene, frames, posts_of
from veil_eval_video.cutouts import Cutout, Pixels, cutouts_of, portrait
from veil_eval_video.degrade import PROFILES
from veil_eval_video.plates import rendered_plate
from veil_eval_video.scenes import backgrounds, street
from veil_eval_video.truth import Truth, write_truth
from veil_models.dataset import Picture


@dataclass(frozen=True, slots=True)
class Order:
    """What to make: `clips` clips of `frames` frames; the same `seed` and pictures make the same clips."""

    clips: int = 6
    frames: int = 90
    width: int = 1280
    height: int = 720
    seed: int = 2026


@dataclass(frozen=True, slots=True)
class Props:
    """What clips are made from."""

    faces: tuple[Cutout, ...]
    plates: tuple[Cutout, ...]
    backgrounds: tuple[Pixels, ...]


def props(pictures: list[Picture], order: Order) -> Props:
    """From `pictures`; without them the public-domain portrait, rendered plates and rendered streets.

    Half of the plates are rendered in any case.
    """
    faces = cutouts_of(pictures, ObjectClass.FACE, 10 * order.clips, order.seed)
    real = cutouts_of(pictures, ObjectClass.PLATE, 4 * order.clips, order.seed)
    drawn = [rendered_plate(order.seed + number) for number in range(4 * order.clips)]
    behind = backgrounds(pictures, order.width, order.height, order.clips, order.seed)
    return Props(
        tuple(faces or [portrait()]),
        (*real, *drawn),
        tuple(behind or [street(order.width, order.height, order.seed + n) for n in range(order.clips)]),
    )


def make_clips(folder: Path, found: Props, order: Order) -> list[Truth]:
    """Writes clips and their truth into `folder`; profiles take turns."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_make(folder, found, order, number) for number in range(order.clips)]


def _make(folder: Path, found: Props, order: Order, number: int) -> Truth:
    profile = PROFILES[number % len(PROFILES)]
    seed = order.seed * 1000 + number
    scene = Scene(
        order.width,
        order.height,
        found.backgrounds[number % len(found.backgrounds)],
        cast(found.faces, found.plates, order.width, order.height, seed),
        posts_of(order.width, seed),
        profile,
        seed,
    )
    path = folder / f"{number:02d}-{profile.name}.mp4"
    objects = []
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "maxrate": str(profile.bit_rate), "bufsize": str(profile.bit_rate)}
        stream = container.add_stream("libx264", rate=profile.frame_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = order.width, order.height, "yuv420p"
        stream.bit_rate = profile.bit_rate
        # with one thread equal pictures give equal bytes
        stream.codec_context.thread_count = 1
        for index, (rgb, present) in enumerate(frames(scene, order.frames)):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, profile.frame_rate)
            container.mux(stream.encode(frame))
            objects.append(present)
        container.mux(stream.encode(None))
    truth = Truth(
        path.name, order.width, order.height, profile.frame_rate, profile.name, seed, tuple(objects)
    )
    write_truth(truth, path)
    return truth
