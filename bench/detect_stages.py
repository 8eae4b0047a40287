"""Medians of the detector's stages, in microseconds a frame.

    python bench/detect_stages.py [--bundle NAME] [--bundle-dir DIR] [--runtime onnx|tflite] [--clip FILE]

Without a clip the frames are noise of 1920x1080. OpenCV gets one thread, as in a camera's process. Besides,
the ways of scaling that were compared: area, linear, and halving by area before linear, as the detector does.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from veil.config import DetectorConfig
from veil.detect.bundle import find_bundle, load_bundle
from veil.detect.detector import BundleDetector, StageTimings, open_detector
from veil.detect.preprocess import Preprocessor
from veil.detect.runtime import TensorSpec
from veil.detect.view import InputLimit, whole_view
from veil.frames.picture import ColorInfo, Planes


def noise(width: int, height: int, count: int) -> Iterator[Planes]:
    random = np.random.default_rng(0)
    stride = -(-width // 64) * 64
    for _ in range(count):
        yield Planes(
            *(
                random.integers(0, 256, (height // by, stride // by), np.uint8)[:, : width // by]
                for by in (1, 2, 2)
            )
        )


def clip(path: Path, count: int) -> Iterator[Planes]:
    import av

    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= count:
                return
            flat = frame.reformat(1920, 1080, "yuv420p").to_ndarray().reshape(-1)
            luma, chroma = 1920 * 1080, 960 * 540
            yield Planes(
                flat[:luma].reshape(1080, 1920),
                flat[luma : luma + chroma].reshape(540, 960),
                flat[luma + chroma :].reshape(540, 960),
            )


def median_us(work: Callable[[], object], repeat: int = 60) -> float:
    work()
    times = []
    for _ in range(repeat):
        started = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - started) / 1e3)
    return statistics.median(times)


def scaling(planes: Planes) -> None:
    """Luma of one 1080p frame to 640x360 in three ways, and the whole preparation of both views."""
    small = np.zeros((360, 640), np.uint8)
    half = np.zeros((540, 960), np.uint8)

    def halved() -> None:
        cv2.resize(planes.y, (960, 540), dst=half, interpolation=cv2.INTER_AREA)
        cv2.resize(half, (640, 360), dst=small, interpolation=cv2.INTER_LINEAR)

    def direct(how: int) -> Callable[[], object]:
        return lambda: cv2.resize(planes.y, (640, 360), dst=small, interpolation=how)

    print("luma 1920x1080 to 640x360, us")
    print(f"  area             {median_us(direct(cv2.INTER_AREA)):8.0f}")
    print(f"  linear           {median_us(direct(cv2.INTER_LINEAR)):8.0f}")
    print(f"  half, linear     {median_us(halved):8.0f}")
    view = whole_view(1920, 1080, InputLimit(640, 384, 32, dynamic=True))
    spec = TensorSpec("nchw", "uint8", "rgb")
    ready = Preprocessor(view, spec)
    print(f"  whole tensor     {median_us(lambda: ready.fill(planes, ColorInfo(), view)):8.0f}")


def stages(detector: BundleDetector, frames: list[Planes], tiles: int) -> None:
    found: list[StageTimings] = []
    walls: list[float] = []
    counts: list[int] = []
    for index, planes in enumerate(frames):
        height, width = planes.y.shape
        rotation = detector.tiles_of(width, height)
        chosen = [rotation[(index * tiles + step) % len(rotation)] for step in range(tiles)]
        started = time.perf_counter_ns()
        counts.append(len(detector.detect_planes(planes, width, height, ColorInfo(), chosen)))
        walls.append((time.perf_counter_ns() - started) / 1e3)
        found.append(detector.last_timings)
    medians = {
        stage.name.removesuffix("_us"): statistics.median(getattr(each, stage.name) for each in found)
        for stage in fields(StageTimings)
    }
    row = "  ".join(f"{name} {value:7.0f}" for name, value in medians.items())
    without = sum(value for name, value in medians.items() if name != "infer")
    print(
        f"  whole + {tiles} tiles  {row}  wall {statistics.median(walls):7.0f}  all but infer {without:6.0f}"
        f"  detections {statistics.median(counts):3.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", default="veil-s")
    parser.add_argument("--bundle-dir", type=Path)
    parser.add_argument("--runtime", choices=("onnx", "tflite"), default="onnx")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    frames = list(clip(options.clip, options.frames) if options.clip else noise(1920, 1080, options.frames))
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"{len(frames)} frames"
    )
    scaling(frames[0])
    config = DetectorConfig(runtime=options.runtime, threads=options.threads, tiles_per_frame=4)
    bundle = load_bundle(find_bundle(options.bundle, options.bundle_dir))
    with open_detector(bundle, config) as detector:
        print(f"{detector.identity} {detector.runtime}, 1920x1080, medians in us a frame")
        for tiles in (0, 1, 4):
            stages(detector, frames, tiles)


if __name__ == "__main__":
    main()
