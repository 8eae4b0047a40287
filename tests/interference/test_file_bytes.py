"""Non-interference of files: two clips that differ only below masks become the same anonymized file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import pytest

from interference.worlds import World, hidden_cells, other_below, plain_planes, random_world
from veil.anonymize import Anonymizer
from veil.audit.log import Unlogged
from veil.config import CameraConfig
from veil.domain.clock import SystemClock
from veil.domain.detection import Detection, DetectionReport, ObjectClass
from veil.domain.thresholds import ClassThresholds
from veil.frames.raw import RawFrame
from veil.jobs import Job

BOXES = int(os.environ.get("VEIL_BOXES", "100"))
FRAMES = 5
PER_TEST = 20
# A smaller box is enlarged around its middle, which is not the same for a detection and its track.
LEAST = 13.0


class _Knows:
    """A detector that finds the world's box, whatever the pixels are."""

    identity = "knows@1.0.0"
    thresholds: Mapping[ObjectClass, ClassThresholds] = {ObjectClass.FACE: ClassThresholds(0.3, 0.1)}

    def __init__(self, world: World) -> None:
        self._world = world

    def detect(self, raw: RawFrame) -> DetectionReport:
        found = Detection(ObjectClass.FACE, self._world.boxes[raw.info.sequence], 0.9)
        return DetectionReport(raw.info.sequence, (found,), (self.identity,))


def _write(path: Path, world: World, *, changed: bool) -> None:
    """A lossless clip (FFV1) of the world's visible picture."""
    with av.open(path, "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = world.width, world.height, "yuv420p"
        for index in range(FRAMES):
            planes = plain_planes(world, index)
            if changed:
                # Below the detection's own mask; the tracker may hide more, never less.
                planes = other_below(planes, hidden_cells(world, index), index)
            frame = av.VideoFrame(world.width, world.height, "yuv420p")
            for plane, pixels in zip(frame.planes, planes, strict=True):
                view = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
                view[: plane.height, : plane.width] = pixels[: plane.height, : plane.width]
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _anonymized(source: Path, world: World, lookback_s: float) -> bytes:
    mask = world.config.model_copy(update={"lookback_s": lookback_s})
    config = CameraConfig(name="file", source=str(source), mask=mask)
    output = source.with_suffix(".out.mp4")
    result = Anonymizer(config, _Knows(world), Unlogged(), SystemClock()).run(
        Job(source, output), lambda done: None
    )
    assert result.frames == FRAMES
    return output.read_bytes()


@pytest.mark.parametrize("first", range(0, BOXES, PER_TEST))
def test_files_that_differ_below_masks_become_the_same_file(tmp_path: Path, first: int) -> None:
    differ = 0
    for seed in range(first, first + PER_TEST):
        world = random_world(1000 + seed, FRAMES, LEAST)
        lookback_s = (0.0, 0.5)[seed % 2]
        one, two = tmp_path / f"{seed}-one.mkv", tmp_path / f"{seed}-two.mkv"
        _write(one, world, changed=False)
        _write(two, world, changed=True)
        differ += one.read_bytes() != two.read_bytes()
        assert _anonymized(one, world, lookback_s) == _anonymized(two, world, lookback_s), f"seed {seed}"
    assert differ >= PER_TEST * 0.8


def test_the_search_can_fail(tmp_path: Path) -> None:
    world = random_world(1000, FRAMES)
    one, two = tmp_path / "one.mkv", tmp_path / "two.mkv"
    _write(one, world, changed=False)
    _write(two, random_world(1001, FRAMES), changed=False)
    assert one.read_bytes() != two.read_bytes()
    moved = World(world.width, world.height, random_world(1002, FRAMES).boxes, world.config, world.seed)
    assert _anonymized(one, world, 0.0) != _anonymized(one, moved, 0.0)
